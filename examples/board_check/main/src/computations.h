/* Computations whose results are in expected.h. */
#ifndef COMPUTATIONS_H
#define COMPUTATIONS_H

#include <stdint.h>

/* Of the component: all results of a product, and a computation of its own. NULL without CONFIG_MQTT_CLIENT_CHECKS. */
typedef uint64_t product_t(uint32_t a, uint32_t b, uint64_t sum);
uint64_t wm_mqtt_check_product(product_t *product) __attribute__((weak));
const char *wm_mqtt_check(unsigned number, uint64_t *result) __attribute__((weak));

/* Does one: its name, and what comes out; NULL behind the last. Only where the component has its part. */
const char *board_compute(unsigned number, uint64_t *result);

#endif
