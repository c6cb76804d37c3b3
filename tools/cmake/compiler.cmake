# Warnings, hardening, sanitizers, ccache and the linker: the same for every target of ours.

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

find_program(MOLD mold)
find_program(LLD ld.lld)
if(MOLD)
  add_link_options(-fuse-ld=mold)
elseif(LLD)
  add_link_options(-fuse-ld=lld)
endif()

# Only what is really called becomes a dependency of a binary: local-cluster does not load gRPC.
add_link_options(-Wl,--as-needed)

set(CMAKE_CXX_FLAGS_RELEASE "-O2")
set(CMAKE_C_FLAGS_RELEASE "-O2")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")
set(CMAKE_CXX_FLAGS_SANITIZE "-O1 -g1 -fno-omit-frame-pointer")
set(CMAKE_C_FLAGS_SANITIZE "-O1 -g1 -fno-omit-frame-pointer")

if(KAITO_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(KAITO_SANITIZE)
  add_compile_options(-fsanitize=${KAITO_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${KAITO_SANITIZE})
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fcf-protection
    -D_GLIBCXX_ASSERTIONS)
  add_link_options(-pie -Wl,-z,relro,-z,now,-z,noexecstack)
endif()

# Flags of our own code; generated code and packages get none of them.
add_library(kaito_warnings INTERFACE)
target_compile_options(kaito_warnings INTERFACE -Wall -Wextra -Werror -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  target_compile_options(kaito_warnings INTERFACE -Wthread-safety)
elseif(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # GCC 12 reports these falsely in std::string and in coroutines, most of all under the sanitizers.
  target_compile_options(kaito_warnings INTERFACE -Wno-restrict -Wno-maybe-uninitialized
    -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread -Wno-dangling-pointer)
  # Asio's fences cannot be followed by the thread sanitizer; it needs none of them.
  if(KAITO_SANITIZE MATCHES "thread")
    target_compile_options(kaito_warnings INTERFACE -Wno-tsan)
  endif()
endif()
