/* What multiplies on the device's core: products.c. */
#ifndef PRODUCTS_H
#define PRODUCTS_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t product_t(uint32_t a, uint32_t b, uint64_t sum);
typedef struct {
    const char *name;
    product_t *product;
} named_product_t;

extern const named_product_t products[];
extern const size_t product_count;

#endif
