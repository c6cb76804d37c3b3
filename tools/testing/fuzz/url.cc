// URLs, queries and percent-encoding: decoding what was encoded gives the text back.

#include <cstdint>
#include <string_view>

#include "common/net/http.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto url = net::ParseUrl(text);
  if (url.ok() && (url->port <= 0 || url->port > 65535 || url->target.empty())) __builtin_trap();
  const auto decoded = net::PercentDecode(net::PercentEncode(text));
  if (!decoded || *decoded != text) __builtin_trap();
  (void)net::QueryParameter(text, "a");
  (void)net::QueryParameters(text, "b");
  return 0;
}
