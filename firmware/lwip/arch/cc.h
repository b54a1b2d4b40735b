/* The compiler's side of lwIP. */
#ifndef FIRMWARE_LWIP_CC_H
#define FIRMWARE_LWIP_CC_H

#include <stdint.h>
#include <stdlib.h>
#include <sys/time.h>

#include "board.h"

#define LWIP_RAND()                ((uint32_t)rand())
#define LWIP_PLATFORM_DIAG(x)      do { } while (0)
#define LWIP_PLATFORM_ASSERT(what) board_failed(what, __FILE__, __LINE__)

#endif
