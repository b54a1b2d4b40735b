/* The device's heap, which is malloc() for the library, its application, lwIP and the kernel: FreeRTOS' heap_4, with the
 * 8-byte alignment and the block headers of the SDK's. free() takes blocks of the harness's heap too. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "board.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

#undef portBYTE_ALIGNMENT
#undef portBYTE_ALIGNMENT_MASK
#define portBYTE_ALIGNMENT      8
#define portBYTE_ALIGNMENT_MASK 7
#undef configTOTAL_HEAP_SIZE
#define configTOTAL_HEAP_SIZE DEVICE_HEAP
#define pvPortMalloc heap_4_malloc
#define vPortFree    heap_4_free
#include "heap_4.c"
#undef pvPortMalloc
#undef vPortFree

/* What the SDK's heap puts before a block beside heap_4's 8 bytes, with HEAP_USE_TRACING, which is on by default. */
enum { MORE_HEADER = 16 };

void *pvPortMalloc(size_t size)
{
    uint8_t *block = size && size < DEVICE_HEAP ? heap_4_malloc(size + MORE_HEADER) : NULL;
    return block ? block + MORE_HEADER : NULL;
}

void (*board_heap_freed)(void);

void vPortFree(void *block)
{
    if (!block) return;
    heap_4_free((uint8_t *)block - MORE_HEADER);
    if (board_heap_freed) board_heap_freed();
}

static size_t block_size(void *block)
{
    const BlockLink_t *link = (const BlockLink_t *)((uint8_t *)block - MORE_HEADER - xHeapStructSize);
    return (link->xBlockSize & ~heapBLOCK_ALLOCATED_BITMASK) - xHeapStructSize - MORE_HEADER;
}

size_t board_heap_used(void) { return DEVICE_HEAP - xPortGetFreeHeapSize(); }

size_t board_heap_peak(void) { return DEVICE_HEAP - xPortGetMinimumEverFreeHeapSize(); }
void board_heap_restart_peak(void) { xPortResetHeapMinimumEverFreeHeapSize(); }

/* A block of the caller's, in front of others. */
static bool take(void ***blocks, size_t size)
{
    void **block = pvPortMalloc(size);
    if (!block) return false;
    *block = *blocks;
    *blocks = block;
    return true;
}

void **board_heap_take(size_t left, size_t piece)
{
    enum { LEAST = 64 };
    void **kept = NULL, **blocks = NULL;
    for (; left >= LEAST; left -= left < piece ? left : piece) {
        /* Nothing joins the pieces. */
        if (!take(&kept, left < piece ? left : piece) || !take(&blocks, sizeof *blocks)) break;
    }
    for (size_t size = DEVICE_HEAP; size >= LEAST; size /= 2)
        while (take(&blocks, size)) continue;
    board_heap_give_back(kept);
    return blocks;
}

void board_heap_give_back(void **blocks)
{
    while (blocks) {
        void **next = *blocks;
        vPortFree(blocks);
        blocks = next;
    }
}

void *malloc(size_t size) { return pvPortMalloc(size ? size : 1); }

void free(void *block)
{
    if (!block) return;
    if ((uint8_t *)block >= ucHeap && (uint8_t *)block < ucHeap + sizeof ucHeap) vPortFree(block);
    else harness_free(block);
}

void *calloc(size_t count, size_t size)
{
    size_t all;
    if (__builtin_mul_overflow(count, size, &all)) return NULL;
    void *block = malloc(all);
    if (block) memset(block, 0, all);
    return block;
}

void *realloc(void *block, size_t size)
{
    if (!block) return malloc(size);
    size_t old = block_size(block);
    if (size <= old && size > old / 2) return block;
    void *other = malloc(size);
    if (!other) return size <= old ? block : NULL;
    memcpy(other, block, size < old ? size : old);
    free(block);
    return other;
}
