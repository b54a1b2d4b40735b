# wm_mqtt::client for a project on Linux that has this folder as a subdirectory: the library, built by cargo, and the stand-in
# of the SDK. `make install` gives the same targets to find_package(wm_mqtt_client): cmake/config.cmake.in.

set(wm_mqtt_root ${CMAKE_CURRENT_LIST_DIR}/..)
get_filename_component(wm_mqtt_root ${wm_mqtt_root} ABSOLUTE)

find_program(WM_MQTT_CARGO cargo HINTS $ENV{CARGO_HOME}/bin $ENV{HOME}/.cargo/bin)
if(NOT WM_MQTT_CARGO)
    message(FATAL_ERROR "wm_mqtt_client: cargo not found. Install Rust from https://rustup.rs.")
endif()

# The system libraries that Rust's static libraries need: asked with an empty one, since ours is not built before the
# project is. libgcc_s is left to the C compiler, as in the Makefile.
get_filename_component(wm_mqtt_cargo_folder ${WM_MQTT_CARGO} DIRECTORY)
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/empty.rs "")
execute_process(COMMAND ${wm_mqtt_cargo_folder}/rustc --crate-type staticlib --print native-static-libs=native-static-libs empty.rs
                WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR} ERROR_VARIABLE wm_mqtt_said RESULT_VARIABLE wm_mqtt_failed)
if(wm_mqtt_failed)
    message(FATAL_ERROR "wm_mqtt_client: rustc does not work: ${wm_mqtt_said}")
endif()
file(READ ${CMAKE_CURRENT_BINARY_DIR}/native-static-libs wm_mqtt_native)
separate_arguments(wm_mqtt_native)
list(REMOVE_ITEM wm_mqtt_native -lgcc_s)

file(GLOB wm_mqtt_sdk_sources CONFIGURE_DEPENDS ${wm_mqtt_root}/ffi-tests/sdk/src/*.c)
add_library(wm_sdk_host STATIC ${wm_mqtt_sdk_sources})
set_target_properties(wm_sdk_host PROPERTIES C_STANDARD 11 POSITION_INDEPENDENT_CODE ON)
target_include_directories(wm_sdk_host PRIVATE ${wm_mqtt_root}/include PUBLIC ${wm_mqtt_root}/ffi-tests/sdk/include)
target_compile_options(wm_sdk_host PUBLIC -pthread)
target_link_options(wm_sdk_host INTERFACE -pthread)
add_library(wm_mqtt::sdk_host ALIAS wm_sdk_host)

set(WM_MQTT_CLIENT_FEATURES "" CACHE STRING "Features of the library, a list, host among them; empty: the default ones (docs/linux.md, Features)")
set(wm_mqtt_feature_options)
if(WM_MQTT_CLIENT_FEATURES)
    string(REPLACE ";" "," wm_mqtt_feature_options "${WM_MQTT_CLIENT_FEATURES}")
    set(wm_mqtt_feature_options --no-default-features --features ${wm_mqtt_feature_options})
endif()
# cargo knows whether there is something to do.
set(wm_mqtt_library ${CMAKE_CURRENT_BINARY_DIR}/cargo/release/libwm_mqtt_client.a)
add_custom_target(wm_mqtt_cargo ALL
                  COMMAND ${WM_MQTT_CARGO} rustc --locked --release --lib --crate-type staticlib ${wm_mqtt_feature_options}
                          --target-dir ${CMAKE_CURRENT_BINARY_DIR}/cargo
                  BYPRODUCTS ${wm_mqtt_library}
                  WORKING_DIRECTORY ${wm_mqtt_root}
                  USES_TERMINAL VERBATIM)
add_library(wm_mqtt::client STATIC IMPORTED GLOBAL)
set_target_properties(wm_mqtt::client PROPERTIES
                      IMPORTED_LOCATION ${wm_mqtt_library}
                      INTERFACE_INCLUDE_DIRECTORIES ${wm_mqtt_root}/include
                      INTERFACE_LINK_LIBRARIES "wm_sdk_host;${wm_mqtt_native}")
add_dependencies(wm_mqtt::client wm_mqtt_cargo)
