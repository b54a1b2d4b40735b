/* The computations: what multiplies on the device's core, and those of the library. First each instruction for products of
 * 32 by 32 bits alone, also where the result takes the place of what it is made from (they are read before; the vendor's
 * compiler makes use of that) and in a pair that begins with an odd register; then what the compiler makes of C.
 * src/checks/products.rs of the component has what must come out, under the same names. */
#include "computations.h"

#define FUNCTION(name, code)                                                                        \
    __asm__("    .text\n    .align 1\n" #name ":\n" code "    rts\n");                              \
    uint64_t name(uint32_t a, uint32_t b, uint64_t sum)

/* The factors are in r0 and r1, the sum is in r2 and r3, the result belongs into r0 and r1. */
#define RESULT(low, high) "    mov r0, " low "\n    mov r1, " high "\n"

/* An instruction `name z, x, y` (numbers of registers), as halfwords, since not every assembler knows these. scripts/firmware.sh
 * compares them with what one makes of the names. */
#ifdef NAMES
#define CODE(name, code, z, x, y) "    " name " r" #z ", r" #x ", r" #y "\n"
#else
#define CODE(name, code, z, x, y) "    .short 0xf800 | " #x " | " #y " << 5, " #code " | " #z "\n"
#endif

#define PRODUCT(type, code)                                                                         \
    FUNCTION(mul_##type, CODE("mul." #type, code, 2, 0, 1) RESULT("r2", "r3"));                     \
    FUNCTION(mul_##type##_factors, CODE("mul." #type, code, 0, 0, 1));                              \
    FUNCTION(mul_##type##_low, CODE("mul." #type, code, 1, 0, 1) RESULT("r1", "r2"));               \
    FUNCTION(mul_##type##_high, "    mov r13, r0\n" CODE("mul." #type, code, 12, 13, 1) RESULT("r12", "r13"))
PRODUCT(u32, 0x8000);
PRODUCT(s32, 0x8200);

#define SUM(type, code)                                                                             \
    FUNCTION(mula_##type, CODE("mula." #type, code, 2, 0, 1) RESULT("r2", "r3"));                   \
    FUNCTION(mula_##type##_odd, "    mov r12, r1\n    mov r1, r2\n    mov r2, r3\n"                 \
                                CODE("mula." #type, code, 1, 0, 12) RESULT("r1", "r2"));            \
    FUNCTION(mula_##type##_low, CODE("mula." #type, code, 2, 2, 1) RESULT("r2", "r3"));             \
    FUNCTION(mula_##type##_high, CODE("mula." #type, code, 2, 0, 3) RESULT("r2", "r3"))
SUM(u32, 0x8080);
SUM(s32, 0x8280);

FUNCTION(mula_32_l, CODE("mula.32.l", 0x8440, 2, 0, 1) RESULT("r2", "r3"));
FUNCTION(mula_32_l_itself, CODE("mula.32.l", 0x8440, 2, 2, 1) RESULT("r2", "r3"));

#define COMPILED(name, result)                                                                      \
    static uint64_t name(uint32_t a, uint32_t b, uint64_t sum)                                      \
    {                                                                                               \
        (void)a, (void)b, (void)sum;                                                                \
        return result;                                                                              \
    }

uint64_t __muldi3(uint64_t a, uint64_t b);

COMPILED(c_product, (uint64_t)a * b)
COMPILED(c_signed, (uint64_t)((int64_t)(int32_t)a * (int32_t)b))
COMPILED(c_sum, sum + (uint64_t)a * b)
COMPILED(c_sum_itself, sum + (uint64_t)(uint32_t)sum * b)
COMPILED(c_signed_sum, sum + (uint64_t)((int64_t)(int32_t)a * (int32_t)b))
COMPILED(c_low_sum, (uint32_t)((uint32_t)sum + a * b))
COMPILED(c_wide, ((uint64_t)b << 32 | a) * sum)
COMPILED(muldi3, __muldi3((uint64_t)b << 32 | a, sum))

static const struct {
    const char *name;
    product_t *product;
} products[] = {
    {"mul.u32", mul_u32},
    {"mul.u32 into its factors", mul_u32_factors},
    {"mul.u32 into an odd pair, its factor low", mul_u32_low},
    {"mul.u32, its factor high", mul_u32_high},
    {"mul.s32", mul_s32},
    {"mul.s32 into its factors", mul_s32_factors},
    {"mul.s32 into an odd pair, its factor low", mul_s32_low},
    {"mul.s32, its factor high", mul_s32_high},
    {"mula.u32", mula_u32},
    {"mula.u32 into an odd pair", mula_u32_odd},
    {"mula.u32 of its low half", mula_u32_low},
    {"mula.u32 of its high half", mula_u32_high},
    {"mula.s32", mula_s32},
    {"mula.s32 into an odd pair", mula_s32_odd},
    {"mula.s32 of its low half", mula_s32_low},
    {"mula.s32 of its high half", mula_s32_high},
    {"mula.32.l", mula_32_l},
    {"mula.32.l of itself", mula_32_l_itself},
    {"C's product", c_product},
    {"C's signed product", c_signed},
    {"C's sum", c_sum},
    {"C's sum of its own half", c_sum_itself},
    {"C's signed sum", c_signed_sum},
    {"C's low sum", c_low_sum},
    {"C's product of 64 bits", c_wide},
    {"__muldi3", muldi3},
};
enum { PRODUCTS = sizeof products / sizeof products[0] };

const char *board_compute(unsigned number, uint64_t *result)
{
    if (number >= PRODUCTS) return wm_mqtt_check(number - PRODUCTS, result);
    *result = wm_mqtt_check_product(products[number].product);
    return products[number].name;
}
