/* The harness's heap, so that what the tests keep does not count and finds memory when the device has none. Its sources
 * are compiled with malloc, calloc and realloc renamed to these. */
#include <stdlib.h>
#include <string.h>

#include "board.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

#define pvPortMalloc                           harness_heap_malloc
#define vPortFree                              harness_heap_free
#define pvPortCalloc                           harness_heap_calloc
#define xPortGetFreeHeapSize                   harness_heap_left
#define xPortGetMinimumEverFreeHeapSize        harness_heap_minimum
#define xPortResetHeapMinimumEverFreeHeapSize  harness_heap_reset_minimum
#define vPortInitialiseBlocks                  harness_heap_initialise
#define vPortGetHeapStats                      harness_heap_stats
#define vPortHeapResetState                    harness_heap_reset
#undef configTOTAL_HEAP_SIZE
#define configTOTAL_HEAP_SIZE HARNESS_HEAP
#include "heap_4.c"

void *harness_malloc(size_t size) { return harness_heap_malloc(size ? size : 1); }

void harness_free(void *block) { harness_heap_free(block); }

void *harness_calloc(size_t count, size_t size)
{
    size_t all;
    if (__builtin_mul_overflow(count, size, &all)) return NULL;
    void *block = harness_malloc(all);
    if (block) memset(block, 0, all);
    return block;
}

void *harness_realloc(void *block, size_t size)
{
    if (!block) return harness_malloc(size);
    const BlockLink_t *link = (const BlockLink_t *)((uint8_t *)block - xHeapStructSize);
    size_t old = (link->xBlockSize & ~heapBLOCK_ALLOCATED_BITMASK) - xHeapStructSize;
    if (size <= old) return block;
    void *other = harness_malloc(size);
    if (!other) return NULL;
    memcpy(other, block, old);
    harness_free(block);
    return other;
}
