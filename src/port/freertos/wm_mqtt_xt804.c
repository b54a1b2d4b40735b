/*
 * What the compilers expect of the processor's support library and libgcc does not have: on XT804, LLVM calls a function for
 * every atomic access, and there is one core. So a load and a store of a word are atomic as they are, and everything else
 * runs with interrupts masked. And a product of 64 bits that is as fast as the processor can do it. The functions are weak: a
 * toolchain that has them is welcome to its own.
 *
 * The names are those that compilers call (https://gcc.gnu.org/wiki/Atomic/GCCMM/LIbrary); C does not allow to define
 * them under their own name, so they get it as their label. On a host, where tests run this file, they keep the names below.
 */
#include <stdbool.h>
#include <stdint.h>

#ifdef __csky__
#define LABEL(name) __asm__(name)

static inline uint32_t mask(void)
{
    uint32_t psr;
    __asm__ volatile("mfcr %0, psr\n\tpsrclr ie" : "=r"(psr)::"memory");
    return psr;
}

static inline void unmask(uint32_t psr)
{
    __asm__ volatile("mtcr %0, psr" ::"r"(psr) : "memory");
}
#else
#define LABEL(name)
static uint32_t mask(void);
static void unmask(uint32_t psr);
#endif

#define WEAK(name) LABEL(name) __attribute__((weak))

#define FETCH(N, T, WORD, RESULT)                                                                              \
    T wm_mqtt_atomic_fetch_##WORD##_##N(volatile T *at, T with, int order) WEAK("__atomic_fetch_" #WORD "_" #N); \
    T wm_mqtt_atomic_fetch_##WORD##_##N(volatile T *at, T with, int order)                                     \
    {                                                                                                          \
        (void)order;                                                                                           \
        uint32_t before = mask();                                                                              \
        T old = *at;                                                                                           \
        *at = (T)(RESULT);                                                                                     \
        unmask(before);                                                                                        \
        return old;                                                                                            \
    }

#define ATOMIC(N, T)                                                                                                   \
    T wm_mqtt_atomic_load_##N(const volatile T *from, int order) WEAK("__atomic_load_" #N);                            \
    T wm_mqtt_atomic_load_##N(const volatile T *from, int order)                                                       \
    {                                                                                                                  \
        (void)order;                                                                                                   \
        __asm__ volatile("" ::: "memory");                                                                             \
        T value = *from;                                                                                               \
        __asm__ volatile("" ::: "memory");                                                                             \
        return value;                                                                                                  \
    }                                                                                                                  \
    void wm_mqtt_atomic_store_##N(volatile T *to, T value, int order) WEAK("__atomic_store_" #N);                      \
    void wm_mqtt_atomic_store_##N(volatile T *to, T value, int order)                                                  \
    {                                                                                                                  \
        (void)order;                                                                                                   \
        __asm__ volatile("" ::: "memory");                                                                             \
        *to = value;                                                                                                   \
        __asm__ volatile("" ::: "memory");                                                                             \
    }                                                                                                                  \
    bool wm_mqtt_atomic_compare_exchange_##N(volatile T *at, T *expected, T desired, int success, int failure)         \
        WEAK("__atomic_compare_exchange_" #N);                                                                         \
    bool wm_mqtt_atomic_compare_exchange_##N(volatile T *at, T *expected, T desired, int success, int failure)         \
    {                                                                                                                  \
        (void)success;                                                                                                 \
        (void)failure;                                                                                                 \
        uint32_t before = mask();                                                                                      \
        T old = *at;                                                                                                   \
        bool same = old == *expected;                                                                                  \
        if (same)                                                                                                      \
            *at = desired;                                                                                             \
        unmask(before);                                                                                                \
        /* Outside: it belongs to the caller alone. */                                                                 \
        *expected = old;                                                                                               \
        return same;                                                                                                   \
    }                                                                                                                  \
    T wm_mqtt_atomic_exchange_##N(volatile T *at, T with, int order) WEAK("__atomic_exchange_" #N);                    \
    T wm_mqtt_atomic_exchange_##N(volatile T *at, T with, int order)                                                   \
    {                                                                                                                  \
        (void)order;                                                                                                   \
        uint32_t before = mask();                                                                                      \
        T old = *at;                                                                                                   \
        *at = with;                                                                                                    \
        unmask(before);                                                                                                \
        return old;                                                                                                    \
    }                                                                                                                  \
    FETCH(N, T, add, old + with)                                                                                       \
    FETCH(N, T, sub, old - with)                                                                                       \
    FETCH(N, T, and, old & with)                                                                                       \
    FETCH(N, T, or, old | with)                                                                                        \
    FETCH(N, T, xor, old ^ with)                                                                                       \
    FETCH(N, T, nand, ~(old & with))

ATOMIC(1, uint8_t)
ATOMIC(2, uint16_t)
ATOMIC(4, uint32_t)

/* One core: it sees its own writes in order, and so do its interrupts. */
void wm_mqtt_synchronize(void) WEAK("__sync_synchronize");
void wm_mqtt_synchronize(void)
{
    __asm__ volatile("" ::: "memory");
}

/* The product of two 64-bit numbers, which LLVM also calls for 32 by 32 bits: it does not know the processor's multiplication. */
#ifdef __csky__
/* `mul.u32 r0, r0, r2` multiplies 32 by 32 bits into the pair r0, r1. As halfwords, since not every assembler knows it. */
__asm__("    .pushsection .text.__muldi3, \"ax\", @progbits\n"
        "    .align 1\n"
        "    .weak __muldi3\n"
        "    .type __muldi3, @function\n"
        "__muldi3:\n"
        "    mult r3, r3, r0\n"
        "    mult r1, r1, r2\n"
        "    addu r3, r3, r1\n"
        "    .short 0xf840, 0x8000\n"
        "    addu r1, r1, r3\n"
        "    rts\n"
        "    .size __muldi3, . - __muldi3\n"
        "    .popsection\n");
#else
uint64_t wm_mqtt_muldi3(uint64_t a, uint64_t b);
uint64_t wm_mqtt_muldi3(uint64_t a, uint64_t b)
{
    uint32_t a_low = (uint32_t)a, b_low = (uint32_t)b;
    uint32_t a0 = a_low & 0xffff, a1 = a_low >> 16;
    uint32_t b0 = b_low & 0xffff, b1 = b_low >> 16;
    uint32_t low = a0 * b0;
    uint32_t middle = a1 * b0 + (low >> 16);
    uint32_t carry = middle >> 16;
    middle = (middle & 0xffff) + a0 * b1;
    uint32_t high = a1 * b1 + carry + (middle >> 16);
    high += (uint32_t)(a >> 32) * b_low + a_low * (uint32_t)(b >> 32);
    return (uint64_t)high << 32 | (uint32_t)(middle << 16 | (low & 0xffff));
}
#endif
