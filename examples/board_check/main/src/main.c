/* Joins the Wi-Fi network of board_check_config.h, checks the board, and prints a report to be sent to us: see README.md. */
#include <stdio.h>

#include "wmsdk_config.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "wm_drv_rng.h"
#include "wm_error.h"
#include "wm_nm_api.h"

#include "board_check.h"
#include "computations.h"
#include "board_check_config.h"

static void print(const char *line) { printf("%s\r\n", line); }

int main(void)
{
    static const char *const uris[] = {BROKERS NULL};
    const board_t board = {
        .print       = print,
        .compute     = wm_mqtt_check ? board_compute : NULL,
        .fill_random = wm_drv_fill_random,
        .uris        = uris,
        .ca          = BROKER_CA,
    };
    wm_nm_wifi_station_cfg_t station = {WIFI_SSID, WIFI_PASSWORD};

    if (wm_nm_start_wifi_station(&station) != WM_ERR_SUCCESS) {
        printf("Wi-Fi does not start: is WIFI_SSID in board_check_config.h right?\r\n");
        return 0;
    }
    printf("joins %s\r\n", WIFI_SSID);
    while (wm_nm_get_wifi_station_state() != WM_NM_WIFI_STA_GOT_IP) vTaskDelay(pdMS_TO_TICKS(100));
    board_check(&board);
    return 0;
}
