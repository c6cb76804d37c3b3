# One folder is one library, one test program.
#
#   add_module(common_kube
#     SRCS informer.cc work_queue.cc          # none: a library of headers
#     DEPS common_base common_net             # what its headers need, and what its users inherit
#     PRIVATE_DEPS Boost::json                # what only its sources need
#     TESTS informer_test.cc work_queue_test.cc
#     TEST_DEPS ...                           # what only its tests need
#     TEST_DATA testdata)                     # folder; its path reaches the tests as KAITO_TEST_DATA
#
#   add_service(model-server SRCS main.cc DEPS model_server_rpc …)   # a binary of that name
add_custom_target(unit_tests)  # All unit tests, and nothing else.

function(add_module name)
  cmake_parse_arguments(M "" "TEST_DATA" "SRCS;DEPS;PRIVATE_DEPS;TESTS;TEST_DEPS" ${ARGN})
  if(M_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "add_module(${name}): unknown arguments ${M_UNPARSED_ARGUMENTS}")
  endif()
  set(roots ${CMAKE_SOURCE_DIR}/services ${CMAKE_SOURCE_DIR}/tools)
  if(M_SRCS)
    add_library(${name} STATIC ${M_SRCS})
    target_include_directories(${name} PUBLIC ${roots})
    target_link_libraries(${name} PUBLIC ${M_DEPS} PRIVATE ${M_PRIVATE_DEPS} kaito_warnings)
  else()
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${roots})
    target_link_libraries(${name} INTERFACE ${M_DEPS})
  endif()
  if(M_TESTS AND KAITO_TESTS)
    add_executable(${name}_test ${M_TESTS})
    target_link_libraries(${name}_test PRIVATE ${name} ${M_PRIVATE_DEPS} ${M_TEST_DEPS} kaito_warnings
      GTest::gmock_main)
    set(data ${CMAKE_CURRENT_SOURCE_DIR})
    if(M_TEST_DATA)
      set(data ${CMAKE_CURRENT_SOURCE_DIR}/${M_TEST_DATA})
    endif()
    target_compile_definitions(${name}_test PRIVATE KAITO_TEST_DATA="${data}"
      KAITO_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    add_dependencies(unit_tests ${name}_test)
    add_test(NAME ${name} COMMAND ${name}_test)
    set_tests_properties(${name} PROPERTIES TIMEOUT 300 LABELS unit)
  endif()
endfunction()

function(add_service name)
  cmake_parse_arguments(S "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${S_SRCS})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/services ${CMAKE_SOURCE_DIR}/tools)
  target_link_libraries(${name} PRIVATE ${S_DEPS} kaito_warnings)
  target_compile_definitions(${name} PRIVATE KAITO_VERSION="${PROJECT_VERSION}")
endfunction()

# Programs of integration-tests/: they start the real binaries, so those are built first.
function(add_integration_test name)
  cmake_parse_arguments(T "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${T_SRCS})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/services)
  target_link_libraries(${name} PRIVATE ${T_DEPS} kaito_warnings GTest::gmock_main)
  target_compile_definitions(${name} PRIVATE KAITO_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
    KAITO_BINARY_DIR="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 900 LABELS integration)
endfunction()

# One parser under libFuzzer: fuzz_<name>. Built by the preset `fuzz` alone, run by tools/test.
add_custom_target(fuzz_targets)
function(add_fuzz_target name)
  cmake_parse_arguments(F "" "" "SRCS;DEPS" ${ARGN})
  if(NOT KAITO_FUZZ)
    return()
  endif()
  add_executable(fuzz_${name} ${F_SRCS})
  target_include_directories(fuzz_${name} PRIVATE ${CMAKE_SOURCE_DIR}/services ${CMAKE_SOURCE_DIR}/tools)
  target_link_libraries(fuzz_${name} PRIVATE ${F_DEPS} kaito_warnings)
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  add_dependencies(fuzz_targets fuzz_${name})
endfunction()
