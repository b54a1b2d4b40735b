/* Stand-in of the SDK's header: the random number generator. */
#ifndef FIRMWARE_WM_DRV_RNG_H
#define FIRMWARE_WM_DRV_RNG_H

#include "wm_types.h"

/* Fills a buffer; WM_ERR_SUCCESS or another number. */
int wm_drv_fill_random(void *to, uint32_t len);

#endif
