# Says which of our lines in the project's prj.config have no effect. The SDK reads that file once, for a new build folder, and
# forgets there what belongs to a component that is not switched on yet.
set(wm_mqtt_prj_config "${PROJECT_PATH}/prj.config")
if(PROJECT_PATH AND EXISTS "${wm_mqtt_prj_config}")
    # Configured again, and so compared again, when it changes.
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${wm_mqtt_prj_config}")
    file(STRINGS "${wm_mqtt_prj_config}" wm_mqtt_lines REGEX "CONFIG_MQTT_CLIENT_")
    foreach(wm_mqtt_line IN LISTS wm_mqtt_lines)
        if(wm_mqtt_line MATCHES "^(CONFIG_MQTT_CLIENT_[A-Z0-9_]+)=([a-z0-9]+)")
            set(wm_mqtt_wanted ${CMAKE_MATCH_2})
        elseif(wm_mqtt_line MATCHES "^# (CONFIG_MQTT_CLIENT_[A-Z0-9_]+) is not set")
            set(wm_mqtt_wanted n)
        else()
            continue()
        endif()
        set(wm_mqtt_option ${CMAKE_MATCH_1})
        set(wm_mqtt_chosen "${${wm_mqtt_option}}")
        if(wm_mqtt_chosen STREQUAL "")
            set(wm_mqtt_chosen n)
        endif()
        if(NOT wm_mqtt_chosen STREQUAL wm_mqtt_wanted)
            string(APPEND wm_mqtt_ineffective "\n  ${wm_mqtt_option}=${wm_mqtt_wanted} is ${wm_mqtt_chosen}")
        endif()
    endforeach()
    if(wm_mqtt_ineffective)
        message(WARNING "mqtt: prj.config says otherwise than the choices of this build:${wm_mqtt_ineffective}\n"
                        "Such lines need CONFIG_COMPONENT_MQTT_ENABLED=y beside them, and prj.config is read when the build folder is "
                        "new: wm.py distclean. Whoever has chosen otherwise in menuconfig since can leave it so (wm.py saveconfig "
                        "writes it to prj.config). See Choices in docs/sdk.md.")
    endif()
endif()
