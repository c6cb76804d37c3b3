# Makes a C++ file that holds a document as text.
#   cmake -DINPUT=page.html -DOUTPUT=page.cc -DNAME=kPage -P embed.cmake
file(READ ${INPUT} hex HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)"
  "\\1\n" bytes "${bytes}")
file(WRITE ${OUTPUT} "#include \"model-server/gateway/pages.h\"

namespace model_server::gateway {
namespace {
constexpr unsigned char kBytes[] = {\n${bytes}};
}  // namespace
const std::string_view ${NAME}(reinterpret_cast<const char*>(kBytes), sizeof(kBytes));
}  // namespace model_server::gateway
")
