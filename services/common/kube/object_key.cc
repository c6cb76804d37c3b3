#include "common/kube/object_key.h"

#include "absl/strings/str_format.h"

namespace kube {
namespace {

// One segment of a path: a hostile name must not end the path or begin a query.
std::string EscapeSegment(std::string_view segment) {
  std::string escaped;
  escaped.reserve(segment.size());
  for (const char c : segment) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~' || c == ':';
    if (plain) {
      escaped += c;
    } else {
      escaped += absl::StrFormat("%%%02X", static_cast<unsigned char>(c));
    }
  }
  return escaped;
}

}  // namespace

std::string ObjectKey::ToString() const {
  return namespace_name.empty() ? name : absl::StrFormat("%s/%s", namespace_name, name);
}

std::string Resource::api_version() const {
  return group.empty() ? version : absl::StrFormat("%s/%s", group, version);
}

std::string Resource::Path(const ObjectKey& key, std::string_view subresource) const {
  std::string path = group.empty() ? "/api/" : "/apis/";
  path += api_version();
  if (namespaced && !key.namespace_name.empty()) {
    path += "/namespaces/" + EscapeSegment(key.namespace_name);
  }
  path += "/" + plural;
  if (!key.name.empty()) path += "/" + EscapeSegment(key.name);
  if (!subresource.empty()) path += absl::StrFormat("/%s", subresource);
  return path;
}

}  // namespace kube
