/* The rest of the SDK that the library's port and applications call. */
#include <string.h>
#include <sys/time.h>

#include "board.h"
#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "wm_drv_rng.h"
#include "wm_error.h"
#include "wm_utils.h"

int wm_drv_fill_random(void *to, uint32_t len)
{
    static StaticSemaphore_t place;
    static SemaphoreHandle_t lock;
    taskENTER_CRITICAL();
    if (!lock) lock = xSemaphoreCreateMutexStatic(&place);
    taskEXIT_CRITICAL();
    xSemaphoreTake(lock, portMAX_DELAY);
    bool filled = random_bytes(to, len);
    xSemaphoreGive(lock);
    return filled ? WM_ERR_SUCCESS : WM_ERR_FAILED;
}

int wm_sys_get_mac_addr(wm_mac_type_t type, uint8_t *mac, uint8_t len)
{
    static const uint8_t station[WM_MAC_ADDR_LEN] = {0x28, 0x6d, 0xcd, 0xab, 0xcd, 0xef};
    if (type != WM_MAC_TYPE_STA || len < sizeof station) return WM_ERR_INVALID_PARAM;
    memcpy(mac, station, sizeof station);
    return WM_ERR_SUCCESS;
}
