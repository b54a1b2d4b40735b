# cmake -P: makes the component's archive (LIBRARY) from cargo's (BUILT) with the toolchain's AR and OBJCOPY.
# - Rust's objects carry an attribute section that the linker refuses to mix with gcc's.
# - compiler_builtins brings weak twins of memcpy, sin, division and much more. The SDK links the whole archive, so they would
#   take the place of the C library's and libgcc's in all of the firmware. What Rust needs of them, those two and
#   wm_mqtt_xt804.c have.
set(copy ${LIBRARY}.new)
function(run)
    execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE output RESULT_VARIABLE failed)
    if(failed)
        message(FATAL_ERROR "mqtt: ${ARGN}: ${failed}")
    endif()
    set(output "${output}" PARENT_SCOPE)
endfunction()

run(${OBJCOPY} -D --remove-section .csky.attributes ${BUILT} ${copy})
run(${AR} t ${copy})
string(REGEX MATCHALL "compiler_builtins[^\n\r]*" twins "${output}")
if(twins)
    run(${AR} dD ${copy} ${twins})
endif()
# An archive that is the same (D: without dates) keeps its own, so that nothing is linked again.
run(${CMAKE_COMMAND} -E copy_if_different ${copy} ${LIBRARY})
