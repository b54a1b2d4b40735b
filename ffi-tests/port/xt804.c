/* What the compilers' support library lacks on the device, run on the host: wm_mqtt_xt804.c keeps its own names here. The device's
 * own product is compared with the host's in firmware/csky/checks. */
#include "check.h"

#include "../../src/port/freertos/wm_mqtt_xt804.c"

/* Interrupts: how deep they are masked, how often they were, and what one would see. */
static int masked, masks;
static void (*interrupt)(void);

static uint32_t mask(void)
{
    if (interrupt) interrupt();
    CHECK_EQ(masked, 0);
    masked = 1;
    masks++;
    return 0x80000140;
}

static void unmask(uint32_t psr)
{
    CHECK_EQ(psr, 0x80000140);
    CHECK_EQ(masked, 1);
    masked = 0;
    if (interrupt) interrupt();
}

/* Beside the value lie bytes that must not change. */
#define TEST_ATOMICS(N, T)                                                                   \
    static void test_atomics_##N(void)                                                       \
    {                                                                                        \
        struct {                                                                             \
            T before;                                                                        \
            volatile T value;                                                                \
            T after;                                                                         \
        } place = {(T)0x55555555, 0, (T)0xaaaaaaaa};                                         \
        const T old = (T)0xc3c3c3f0, with = (T)0x5a5a5a1f;                                   \
        masks = 0;                                                                           \
        wm_mqtt_atomic_store_##N(&place.value, old, 5);                                      \
        CHECK_EQ(wm_mqtt_atomic_load_##N(&place.value, 5), old);                             \
        CHECK_EQ(masks, 0);                                                                  \
        CHECK_EQ(wm_mqtt_atomic_exchange_##N(&place.value, with, 5), old);                   \
        CHECK_EQ(place.value, with);                                                         \
        T expected = old;                                                                    \
        CHECK(!wm_mqtt_atomic_compare_exchange_##N(&place.value, &expected, 1, 5, 5));       \
        CHECK_EQ(expected, with);                                                            \
        CHECK_EQ(place.value, with);                                                         \
        CHECK(wm_mqtt_atomic_compare_exchange_##N(&place.value, &expected, 1, 5, 5));        \
        CHECK_EQ(expected, with);                                                            \
        CHECK_EQ(place.value, 1);                                                            \
        CHECK_EQ(masks, 3);                                                                  \
        const struct {                                                                       \
            const char *name;                                                                \
            T (*fetch)(volatile T *, T, int);                                                \
            T result;                                                                        \
        } rows[] = {                                                                         \
            {"add", wm_mqtt_atomic_fetch_add_##N, (T)(old + with)},                          \
            {"sub", wm_mqtt_atomic_fetch_sub_##N, (T)(old - with)},                          \
            {"and", wm_mqtt_atomic_fetch_and_##N, (T)(old & with)},                          \
            {"or", wm_mqtt_atomic_fetch_or_##N, (T)(old | with)},                            \
            {"xor", wm_mqtt_atomic_fetch_xor_##N, (T)(old ^ with)},                          \
            {"nand", wm_mqtt_atomic_fetch_nand_##N, (T) ~(old & with)},                      \
        };                                                                                   \
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {                          \
            check_row("%s", rows[i].name);                                                   \
            place.value = old;                                                               \
            masks = 0;                                                                       \
            CHECK_EQ(rows[i].fetch(&place.value, with, 5), old);                             \
            CHECK_EQ(place.value, rows[i].result);                                           \
            CHECK_EQ(masks, 1);                                                              \
        }                                                                                    \
        check_row(NULL);                                                                     \
        CHECK_EQ(masked, 0);                                                                 \
        CHECK_EQ(place.before, (T)0x55555555);                                               \
        CHECK_EQ(place.after, (T)0xaaaaaaaa);                                                \
    }

TEST_ATOMICS(1, uint8_t)
TEST_ATOMICS(2, uint16_t)
TEST_ATOMICS(4, uint32_t)

/* An interrupt that counts before and behind each operation: nothing of it is lost. */
static volatile uint32_t shared;

static void count_too(void)
{
    shared += 1000;
}

static void test_interrupted(void)
{
    shared = 0;
    interrupt = count_too;
    for (int i = 0; i < 100; i++) {
        wm_mqtt_atomic_fetch_add_4(&shared, 1, 5);
    }
    uint32_t expected = shared;
    /* It comes after `expected` was read and before the value is compared. */
    bool same = wm_mqtt_atomic_compare_exchange_4(&shared, &expected, 7, 5, 5);
    interrupt = NULL;
    CHECK(!same);
    CHECK_EQ(expected, 100 + 201 * 1000);
    CHECK_EQ(shared, 100 + 202 * 1000);
}

static void test_products(void)
{
    static const uint64_t numbers[] = {
        0, 1, 2, 3, 0xffff, 0x10000, 0x10001, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x1ffffffff,
        0xffff0000ffff, 0x123456789abcdef0, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffff00000000, 0xffffffffffffffff,
    };
    const size_t count = sizeof numbers / sizeof numbers[0];
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            check_row("%zu, %zu", i, j);
            CHECK_EQ(wm_mqtt_muldi3(numbers[i], numbers[j]), numbers[i] * numbers[j]);
        }
    }
    uint64_t a = 1, b = 0x9e3779b97f4a7c15;
    for (int i = 0; i < 100000; i++) {
        a = a * 6364136223846793005 + 1442695040888963407;
        b ^= b << 13, b ^= b >> 7, b ^= b << 17;
        uint64_t x = i & 1 ? a : a >> 32, y = i & 2 ? b : b >> 32;
        check_row("%016llx * %016llx", (unsigned long long)x, (unsigned long long)y);
        CHECK_EQ(wm_mqtt_muldi3(x, y), x * y);
    }
}

static const test_t TESTS[] = {
    TEST(test_atomics_1), TEST(test_atomics_2), TEST(test_atomics_4), TEST(test_interrupted), TEST(test_products),
};

TESTS_MAIN(TESTS)
