# Builds the Rust library for the device: once now, since the SDK wants the archive when it configures, and with every build
# again, where cargo knows whether there is something to do. Sets wm_mqtt_library and wm_mqtt_shim.

# The toolchain: as scripts/rust.sh. Nothing is installed here.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${wm_mqtt_root}/targets/toolchain)
file(STRINGS ${wm_mqtt_root}/targets/toolchain wm_mqtt_pinned REGEX "^[^#]")
list(GET wm_mqtt_pinned 0 wm_mqtt_pinned_nightly)
list(GET wm_mqtt_pinned 1 wm_mqtt_pinned_rustc)
set(wm_mqtt_nightlies ${wm_mqtt_pinned_nightly} nightly)
if(NOT "$ENV{RUST_NIGHTLY}" STREQUAL "")
    set(wm_mqtt_nightlies $ENV{RUST_NIGHTLY})
endif()
list(GET wm_mqtt_nightlies 0 wm_mqtt_wanted)
set(wm_mqtt_hint "Install Rust from https://rustup.rs, then:
    rustup toolchain install ${wm_mqtt_wanted} --profile minimal
    rustup component add rust-src --toolchain ${wm_mqtt_wanted}
Or take the release archive, which has the library prebuilt in lib/ (${wm_mqtt_prebuilt} is not there).")

find_program(WM_MQTT_CARGO cargo HINTS ENV CARGO_HOME ENV USERPROFILE ENV HOME PATH_SUFFIXES .cargo/bin bin)
if(NOT WM_MQTT_CARGO)
    message(FATAL_ERROR "mqtt: cargo not found. ${wm_mqtt_hint}")
endif()
string(REGEX REPLACE "cargo([^/]*)$" "rustc\\1" wm_mqtt_rustc "${WM_MQTT_CARGO}")
foreach(wm_mqtt_name IN LISTS wm_mqtt_nightlies)
    set(wm_mqtt_nightly ${wm_mqtt_name})
    execute_process(COMMAND ${CMAKE_COMMAND} -E env RUSTUP_AUTO_INSTALL=0 "${wm_mqtt_rustc}" +${wm_mqtt_nightly} --version
                    OUTPUT_VARIABLE wm_mqtt_rustc_version ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE
                    RESULT_VARIABLE wm_mqtt_failed)
    if(NOT wm_mqtt_failed)
        break()
    endif()
endforeach()
if(wm_mqtt_failed)
    # Another cargo may be found next time: this one need not be rustup's.
    set(wm_mqtt_cargo "${WM_MQTT_CARGO}")
    unset(WM_MQTT_CARGO CACHE)
    message(FATAL_ERROR "mqtt: no toolchain ${wm_mqtt_wanted} of Rust (${wm_mqtt_cargo}). ${wm_mqtt_hint}")
endif()
execute_process(COMMAND "${wm_mqtt_rustc}" +${wm_mqtt_nightly} --print sysroot
                OUTPUT_VARIABLE wm_mqtt_sysroot OUTPUT_STRIP_TRAILING_WHITESPACE)
file(TO_CMAKE_PATH "${wm_mqtt_sysroot}" wm_mqtt_sysroot)
if(NOT EXISTS "${wm_mqtt_sysroot}/lib/rustlib/src/rust/library/core")
    message(FATAL_ERROR "mqtt: the toolchain ${wm_mqtt_nightly} lacks rust-src. ${wm_mqtt_hint}")
endif()
if(NOT wm_mqtt_rustc_version STREQUAL wm_mqtt_pinned_rustc)
    message(WARNING "mqtt: the toolchain ${wm_mqtt_nightly} is ${wm_mqtt_rustc_version}. Figures and flags of this component were made "
                    "with ${wm_mqtt_pinned_nightly}, which is ${wm_mqtt_pinned_rustc}.")
endif()

# ring has a C half, which its build script compiles: as the SDK compiles its own.
set(wm_mqtt_c_flags "-mcpu=ck804ef -mhard-float -Os -ffunction-sections -fdata-sections")
if(HIGH_VERSION_GCC)
    string(APPEND wm_mqtt_c_flags " -mistack")
endif()
# cargo does not see when another compiler has taken this one's place: it sees other options.
execute_process(COMMAND ${CMAKE_C_COMPILER} --version OUTPUT_VARIABLE wm_mqtt_compiler ERROR_QUIET)
string(MD5 wm_mqtt_compiler "${wm_mqtt_compiler}")
string(APPEND wm_mqtt_c_flags " -DCOMPILER_${wm_mqtt_compiler}")
set(wm_mqtt_built ${CMAKE_CURRENT_BINARY_DIR}/cargo/csky-w800-elfabiv2/release/libwm_mqtt_client.a)
set(wm_mqtt_library ${CMAKE_CURRENT_BINARY_DIR}/libwm_mqtt_client_rust.a)
string(REPLACE ";" "," wm_mqtt_feature_list "${wm_mqtt_features}")
# Each choice of features has an assembly of its own, or cargo would not write it again when an old choice comes back.
string(REPLACE ";" "-" wm_mqtt_assembly "${CMAKE_CURRENT_BINARY_DIR}/cargo/${wm_mqtt_features}.s")
set(wm_mqtt_cargo_command
    ${CMAKE_COMMAND} -E env --unset=RUSTFLAGS --unset=CARGO_ENCODED_RUSTFLAGS --unset=CARGO_BUILD_TARGET
    CC_csky_w800_elfabiv2=${CMAKE_C_COMPILER} AR_csky_w800_elfabiv2=${CMAKE_AR}
    "CFLAGS_csky_w800_elfabiv2=${wm_mqtt_c_flags}"
    ${WM_MQTT_CARGO} +${wm_mqtt_nightly} rustc --locked --release --lib --crate-type staticlib --config targets/csky.toml
    --no-default-features --features ${wm_mqtt_feature_list} --target-dir ${CMAKE_CURRENT_BINARY_DIR}/cargo)
set(wm_mqtt_rustc_options -- --emit asm=${wm_mqtt_assembly})
set(wm_mqtt_archive_command
    ${CMAKE_COMMAND} -DBUILT=${wm_mqtt_built} -DASSEMBLY=${wm_mqtt_assembly} -DLIBRARY=${wm_mqtt_library}
    -DSHORTEN=${CONFIG_MQTT_CLIENT_SHORTEN_ASSEMBLY} -DCARGO=${WM_MQTT_CARGO} -DTOOLCHAIN=+${wm_mqtt_nightly}
    -DCOMPILER=${CMAKE_C_COMPILER} "-DFLAGS=-mcpu=ck804ef -mhard-float"
    -DAR=${CMAKE_AR} -DOBJCOPY=${CMAKE_OBJCOPY} -P ${wm_mqtt_root}/cmake/archive.cmake)

message(STATUS "mqtt: cargo builds the library (${wm_mqtt_feature_list}); the first time takes a minute or two")
execute_process(COMMAND ${wm_mqtt_cargo_command} --message-format json-render-diagnostics ${wm_mqtt_rustc_options}
                WORKING_DIRECTORY "${wm_mqtt_root}" OUTPUT_VARIABLE wm_mqtt_messages RESULT_VARIABLE wm_mqtt_failed)
if(wm_mqtt_failed)
    message(FATAL_ERROR "mqtt: cargo could not build the library, see above. ${wm_mqtt_hint}")
endif()
execute_process(COMMAND ${wm_mqtt_archive_command} RESULT_VARIABLE wm_mqtt_failed)
if(wm_mqtt_failed)
    message(FATAL_ERROR "mqtt: the archive could not be made, see above")
endif()
add_custom_target(wm_mqtt_rust
                  COMMAND ${wm_mqtt_cargo_command} ${wm_mqtt_rustc_options}
                  COMMAND ${wm_mqtt_archive_command}
                  BYPRODUCTS "${wm_mqtt_library}"
                  WORKING_DIRECTORY "${wm_mqtt_root}"
                  COMMENT "mqtt: cargo builds the library (${wm_mqtt_feature_list})"
                  VERBATIM)

# freertos-rust's C half, from where cargo keeps it: one of the messages tells that. A copy, so that paths stay short.
string(REGEX MATCH "{\"reason\":\"compiler-artifact\",\"package_id\":\"[^\"]*#freertos-rust@[^\n]*" wm_mqtt_message
       "${wm_mqtt_messages}")
string(JSON wm_mqtt_shim GET "${wm_mqtt_message}" manifest_path)
file(TO_CMAKE_PATH "${wm_mqtt_shim}" wm_mqtt_shim)
get_filename_component(wm_mqtt_shim "${wm_mqtt_shim}" DIRECTORY)
file(COPY "${wm_mqtt_shim}/src/freertos/shim.c" DESTINATION "${CMAKE_CURRENT_BINARY_DIR}/freertos-rust")
set(wm_mqtt_shim "${CMAKE_CURRENT_BINARY_DIR}/freertos-rust")
