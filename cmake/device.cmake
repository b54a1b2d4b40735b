# The SDK component: sources, and the Rust library as an archive that is there when the SDK configures.

set(wm_mqtt_root ${CMAKE_CURRENT_LIST_DIR}/..)
get_filename_component(wm_mqtt_root ${wm_mqtt_root} ABSOLUTE)

list(APPEND ADD_SRCS "src/port/freertos/wm_mqtt_port.c"
                     "src/port/freertos/wm_mqtt_lwip.c"
                     "src/port/freertos/wm_mqtt_socket.c"
                     "src/port/freertos/wm_mqtt_xt804.c"
                     )
include(${CMAKE_CURRENT_LIST_DIR}/prj-config.cmake)
set(wm_mqtt_features freertos)
set(wm_mqtt_archive tcp)
foreach(feature "TLS tls" "TLS12 tls12" "TLS_RSA rsa" "TLS_CHACHA20 chacha20" "TLS_ED25519 ed25519" "WEBSOCKET websocket"
                "BUILTIN_ROOTS webpki-roots" "CHECKS checks")
    separate_arguments(feature)
    list(GET feature 0 option)
    list(GET feature 1 name)
    if(CONFIG_MQTT_CLIENT_${option})
        list(APPEND wm_mqtt_features ${name})
        set(wm_mqtt_archive full)
    elseif(NOT option MATCHES "^(BUILTIN_ROOTS|TLS_ED25519|CHECKS)$") # the linker leaves roots out; Ed25519 is not in it; checks: another library
        list(APPEND wm_mqtt_left_out ${name})
    endif()
endforeach()
if(CONFIG_MQTT_CLIENT_CHECKS)
    set(wm_mqtt_archive checks)
endif()
if(NOT wm_mqtt_archive STREQUAL tcp)
    list(APPEND ADD_SRCS "src/ffi/mqtt_client_tls.c")
endif()

set(wm_mqtt_prebuilt ${wm_mqtt_root}/lib/libwm_mqtt_client_${wm_mqtt_archive}.a)
if(EXISTS ${wm_mqtt_prebuilt})
    if(CONFIG_MQTT_CLIENT_TLS_ED25519)
        message(FATAL_ERROR "mqtt: the prebuilt library has no Ed25519: see Choices in docs/sdk.md")
    endif()
    set(wm_mqtt_library ${wm_mqtt_prebuilt})
    set(wm_mqtt_shim ${wm_mqtt_root}/lib/freertos-rust)
    if(NOT wm_mqtt_archive STREQUAL tcp AND wm_mqtt_left_out)
        message(STATUS "mqtt: the prebuilt library has flash for what Kconfig leaves out (${wm_mqtt_left_out}): see Choices in docs/sdk.md")
    endif()
else()
    include(${CMAKE_CURRENT_LIST_DIR}/cargo.cmake)
endif()

list(APPEND ADD_STATIC_LIB ${wm_mqtt_library})
# freertos-rust's C half includes the kernel's headers without a folder; nothing else must find them so.
list(APPEND ADD_SRCS ${wm_mqtt_shim}/shim.c)
set_source_files_properties(${wm_mqtt_shim}/shim.c PROPERTIES
                            INCLUDE_DIRECTORIES ${SDK_PATH}/components/freertos/include/freertos)
