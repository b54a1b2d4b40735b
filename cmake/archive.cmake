# cmake -P: makes the component's archive (LIBRARY) from cargo's (BUILT) and the assembly of its Rust half (ASSEMBLY), with
# cargo (CARGO), the toolchain's compiler (COMPILER, a list with its options) and AR.
# - The assembly is shortened by targets/csky-peephole and assembled by the toolchain: a sixth less flash. It also spares us
#   the attribute section of LLVM's objects, which the linker refuses to mix with gcc's.
# - compiler_builtins brings weak twins of memcpy, sin, division and much more. The SDK links the whole archive, so they would
#   take the place of the C library's and libgcc's in all of the firmware. What Rust needs of them, those two and
#   wm_mqtt_xt804.c have.
cmake_minimum_required(VERSION 3.19)
set(copy ${LIBRARY}.new)
set(object ${LIBRARY}.rust.o)
set(peephole ${CMAKE_CURRENT_LIST_DIR}/../targets/csky-peephole/Cargo.toml)
get_filename_component(folder ${LIBRARY} DIRECTORY)
function(run)
    execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE output RESULT_VARIABLE failed)
    if(failed)
        message(FATAL_ERROR "mqtt: ${ARGN}: ${failed}")
    endif()
    set(output "${output}" PARENT_SCOPE)
endfunction()

run(${CMAKE_COMMAND} -E env --unset=RUSTFLAGS --unset=CARGO_ENCODED_RUSTFLAGS --unset=CARGO_BUILD_TARGET
    ${CARGO} +nightly run --quiet --locked --release --manifest-path ${peephole} --target-dir ${folder}/cargo-host
    -- ${ASSEMBLY} ${object}.s)
run(${COMPILER} -c ${object}.s -o ${object})
run(${CMAKE_COMMAND} -E copy ${BUILT} ${copy})
run(${AR} t ${copy})
string(REGEX MATCHALL "(compiler_builtins|wm_mqtt_client)-[^\n\r]*" replaced "${output}")
run(${AR} d ${copy} ${replaced})
run(${AR} r ${copy} ${object})
# An archive that is the same keeps its date, so that nothing is linked again.
run(${CMAKE_COMMAND} -E copy_if_different ${copy} ${LIBRARY})
