#include "model-server/gateway/pages.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"

#include "common/net/digest.h"

namespace model_server::gateway {
namespace {

// 'sha256-…' of what stands between <tag> and </tag>, for each.
std::string Hashes(std::string_view page, std::string_view tag) {
  const std::string open = absl::StrFormat("<%s>", tag);
  const std::string close = absl::StrFormat("</%s>", tag);
  std::string hashes;
  for (size_t at = page.find(open); at != std::string_view::npos; at = page.find(open, at)) {
    at += open.size();
    const size_t end = page.find(close, at);
    const std::string digest = net::Sha256(page.substr(at, end - at));
    hashes += absl::StrFormat(" 'sha256-%s'", absl::Base64Escape(digest));
    at = end;
  }
  return hashes;
}

}  // namespace

std::string ContentSecurityPolicy(std::string_view page) {
  return absl::StrFormat(
      "default-src 'none'; script-src%s; style-src%s; connect-src 'self'; img-src data:; "
      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      Hashes(page, "script"), Hashes(page, "style"));
}

}  // namespace model_server::gateway
