# cmake -P: makes the component's archive (LIBRARY) from cargo's (BUILT) with the toolchain's AR and OBJCOPY.
# - Rust's objects carry an attribute section that the linker refuses to mix with gcc's.
# - compiler_builtins brings weak twins of memcpy, sin, division and much more. The SDK links the whole archive, so they would
#   take the place of the C library's and libgcc's in all of the firmware. What Rust needs of them, those two and
#   wm_mqtt_xt804.c have.
# - ring's C has debug information of which most is the names of folders on the machine that compiled it.
set(copy ${LIBRARY}.new)
function(run)
    execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE output RESULT_VARIABLE failed)
    if(failed)
        message(FATAL_ERROR "mqtt: ${ARGN}: ${failed}")
    endif()
    set(output "${output}" PARENT_SCOPE)
endfunction()

run(${OBJCOPY} --enable-deterministic-archives --strip-debug --remove-section .csky.attributes ${BUILT} ${copy})
run(${AR} t ${copy})
string(REGEX MATCHALL "compiler_builtins[^\n\r]*" twins "${output}")
if(twins)
    run(${AR} dD ${copy} ${twins})
endif()
# An archive that is the same keeps its date, so that nothing is linked again.
run(${CMAKE_COMMAND} -E copy_if_different ${copy} ${LIBRARY})
