/**
 * @file wm_error.h
 * @brief Host stand-in: the SDK's error numbers. 0 is success, everything else is negative.
 */
#ifndef WM_HOST_ERROR_H
#define WM_HOST_ERROR_H

#define WM_ERR_SUCCESS          0     /**< done */
#define WM_ERR_FAILED           -1    /**< failed for a reason without a number of its own */
#define WM_ERR_NO_MEM           -2    /**< the heap is exhausted */
#define WM_ERR_INVALID_PARAM    -3    /**< an argument is out of range */
#define WM_ERR_BUSY             -4    /**< in use by somebody else */
#define WM_ERR_TIMEOUT          -5    /**< did not happen in time */
#define WM_ERR_NO_SUPPORT       -6    /**< not available here */
#define WM_ERR_NO_INITED        -7    /**< the module has not been started */
#define WM_ERR_NOT_FOUND        -8    /**< no such thing */
#define WM_ERR_NOT_ALLOWED      -9    /**< not permitted in this state or place */
#define WM_ERR_ALREADY_INITED   -10   /**< the module was started before */
#define WM_ERR_EOS              -11   /**< the stream has ended */

#define WM_ERR_MQTT_CLIENT_BASE -5000 /**< origin of the MQTT client's numbers */
#define WM_ERR_PWM_BASE         -6000 /**< origin of the PWM driver's numbers */
#define WM_ERR_OTA_BASE         -10000 /**< origin of the updater's numbers */

#endif
