/* The results of the device's core: src/lib.rs has the computations. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "products.h"

bool check_result(unsigned number, const char **name, size_t *name_len, uint64_t *result);
uint64_t check_product(product_t *product);

int main(void)
{
    const char *name;
    size_t len;
    uint64_t result;
    for (unsigned i = 0; check_result(i, &name, &len, &result); i++)
        printf("CHECK %.*s %016llx\n", (int)len, name, (unsigned long long)result);
    for (size_t i = 0; i < product_count; i++)
        printf("CHECK %s %016llx\n", products[i].name, (unsigned long long)check_product(products[i].product));
    return 0;
}
