# cmake -P: makes the component's archive (LIBRARY) from cargo's (BUILT) and the assembly of its Rust half (ASSEMBLY), with
# cargo (CARGO, TOOLCHAIN) and the toolchain's compiler (COMPILER, FLAGS), AR and OBJCOPY.
# - If SHORTEN says so, the assembly is shortened by targets/csky-peephole and assembled by the toolchain: a quarter less flash.
#   An assembler that does not take it, if there is one, leaves us LLVM's object.
# - Objects carry an attribute section; the linker refuses to mix LLVM's with gcc's, and those of gccs that name the core otherwise.
# - compiler_builtins brings weak twins of memcpy, sin, division and much more. The SDK links the whole archive, so they would
#   take the place of the C library's and libgcc's in all of the firmware. What Rust needs of them, those two and
#   wm_mqtt_xt804.c have.
# - ring's C has debug information of which most is the names of folders on the machine that compiled it.
cmake_minimum_required(VERSION 3.19)
set(copy ${LIBRARY}.new)
set(object ${LIBRARY}.rust.o)
set(peephole ${CMAKE_CURRENT_LIST_DIR}/../targets/csky-peephole/Cargo.toml)
get_filename_component(folder ${LIBRARY} DIRECTORY)
get_filename_component(name ${BUILT} NAME_WE)
string(REGEX REPLACE "^lib" "" name ${name})
function(run)
    execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE output RESULT_VARIABLE failed)
    if(failed)
        message(FATAL_ERROR "mqtt: ${ARGN}: ${failed}")
    endif()
    set(output "${output}" PARENT_SCOPE)
endfunction()

run(${AR} t ${BUILT})
string(REGEX MATCHALL "compiler_builtins-[^\n\r]*" unwanted "${output}")
string(REGEX MATCHALL "${name}-[^\n\r]*" rust "${output}")

run(${CMAKE_COMMAND} -E copy ${BUILT} ${copy})
if(SHORTEN)
    # cargo does not know the assembly: after a change back to packages or a compiler of before it takes the archive of before, and
    # the assembly would be of what came between. Both name their unit.
    file(STRINGS ${ASSEMBLY} unit REGEX "^\t\\.file\t\"${name}" LIMIT_COUNT 1)
    string(REGEX REPLACE "^.*\"(.*)\".*$" "\\1" unit "${unit}")
    string(FIND "${rust}" ".${unit}.rcgu.o" found)
    if(unit AND found EQUAL -1)
        message(FATAL_ERROR "mqtt: ${ASSEMBLY} is of another build than ${BUILT}: clean the build folder (wm.py distclean)")
    endif()

    run(${CMAKE_COMMAND} -E env --unset=RUSTFLAGS --unset=CARGO_ENCODED_RUSTFLAGS --unset=CARGO_BUILD_TARGET
        ${CARGO} ${TOOLCHAIN} run --quiet --locked --release --target host-tuple --manifest-path ${peephole}
        --target-dir ${folder}/cargo-host -- ${ASSEMBLY} ${object}.s)
    separate_arguments(FLAGS)
    execute_process(COMMAND ${COMPILER} ${FLAGS} -c ${object}.s -o ${object} RESULT_VARIABLE failed)
    if(failed)
        message(WARNING "mqtt: the assembler does not take the shortened assembly: the library is a third larger than it could be")
    else()
        list(APPEND unwanted ${rust})
        run(${AR} rD ${copy} ${object})
    endif()
endif()
run(${AR} dD ${copy} ${unwanted})
run(${OBJCOPY} --enable-deterministic-archives --strip-debug --remove-section .csky.attributes ${copy})
# An archive that is the same keeps its date, so that nothing is linked again.
run(${CMAKE_COMMAND} -E copy_if_different ${copy} ${LIBRARY})
