#include "local-cluster/apiserver/object_meta.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_format.h"

#include "local-cluster/apiserver/schema/json_edit.h"
#include "local-cluster/apiserver/schema/normalize.h"

namespace local_cluster {
namespace {

using boost::json::array;
using boost::json::object;

bool IsLowerAlnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool IsAlnum(char c) { return IsLowerAlnum(c) || (c >= 'A' && c <= 'Z'); }

// [A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?
bool IsNamePart(std::string_view text) {
  if (text.empty() || !IsAlnum(text.front()) || !IsAlnum(text.back())) return false;
  return std::ranges::all_of(text,
                             [](char c) { return IsAlnum(c) || c == '-' || c == '_' || c == '.'; });
}

constexpr char kSubdomain[] =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
constexpr char kLabel[] =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
constexpr char kService[] =
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
constexpr char kQualified[] =
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
constexpr char kLabelValue[] =
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
    "or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
constexpr size_t kAnnotationBytesMax = 256 << 10;

void ValidateName(std::string_view name, const Kind& kind, std::vector<ErrorCause>& causes) {
  const auto refuse = [&](std::string_view why) {
    causes.push_back(InvalidField("metadata.name", JsonText(name), why));
  };
  if (name.empty()) {
    causes.push_back(RequiredField("metadata.name", "name or generateName is required"));
  } else if (!kind.strategy.name_is_subdomain) {
    if (name == "." || name == ".." || name.find_first_of("/%") != std::string_view::npos) {
      refuse("may not be '.' or '..', and may not contain '/' or '%'");
    }
  } else if (kind.kind == "Service" && !kind.custom) {
    if (!IsDnsLabel(name) || !(name.front() >= 'a' && name.front() <= 'z')) refuse(kService);
  } else if (kind.kind == "Namespace" && !kind.custom) {
    if (!IsDnsLabel(name)) refuse(kLabel);
  } else if (name.size() > 253) {
    refuse("must be no more than 253 bytes");
  } else if (!IsDnsSubdomain(name)) {
    refuse(kSubdomain);
  }
}

void ValidateLabels(const object& labels, std::vector<ErrorCause>& causes) {
  for (const auto& label : labels) {
    if (!IsQualifiedName(label.key())) {
      causes.push_back(InvalidField("metadata.labels", JsonText(label.key()), kQualified));
    }
    if (!label.value().is_string()) continue;
    const std::string_view value = View(label.value().get_string());
    if (value.size() > 63) {
      causes.push_back(
          InvalidField("metadata.labels", JsonText(value), "must be no more than 63 bytes"));
    } else if (!IsLabelValue(value)) {
      causes.push_back(InvalidField("metadata.labels", JsonText(value), kLabelValue));
    }
  }
}

void ValidateAnnotations(const object& annotations, std::vector<ErrorCause>& causes) {
  size_t bytes = 0;
  for (const auto& annotation : annotations) {
    bytes += annotation.key().size();
    if (annotation.value().is_string()) bytes += annotation.value().get_string().size();
    if (!IsQualifiedName(annotation.key())) {
      causes.push_back(
          InvalidField("metadata.annotations", JsonText(annotation.key()), kQualified));
    }
  }
  if (bytes > kAnnotationBytesMax) {
    causes.push_back(
        {"FieldValueTooLong", "metadata.annotations",
         absl::StrFormat("Too long: may not be more than %d bytes", kAnnotationBytesMax)});
  }
}

void ValidateOwners(const array& owners, std::vector<ErrorCause>& causes) {
  int controllers = 0;
  for (size_t i = 0; i < owners.size(); ++i) {
    const object* owner = owners[i].if_object();
    if (owner == nullptr) continue;
    const std::string at = FieldPath("metadata.ownerReferences", i);
    for (const char* name : {"apiVersion", "kind", "name", "uid"}) {
      if (!StringIn(*owner, name).empty()) continue;
      const std::string_view what = name == std::string_view("apiVersion") ? "version" : name;
      causes.push_back(
          InvalidField(FieldPath(at, name), "", absl::StrFormat("%s must not be empty", what)));
    }
    const boost::json::value* controller = owner->if_contains("controller");
    if (controller != nullptr && *controller == boost::json::value(true)) ++controllers;
  }
  if (controllers > 1) {
    causes.push_back(InvalidField("metadata.ownerReferences", owners,
                                  "Only one reference can have Controller set to true."));
  }
}

bool Contains(const array* list, const boost::json::value& value) {
  return list != nullptr && std::ranges::find(*list, value) != list->end();
}

void ValidateFinalizers(const object& metadata, const object* old,
                        std::vector<ErrorCause>& causes) {
  const array* finalizers = ArrayIn(metadata, "finalizers");
  if (finalizers == nullptr) return;
  std::string added;
  for (const boost::json::value& finalizer : *finalizers) {
    if (!finalizer.is_string()) continue;
    const std::string_view name = View(finalizer.get_string());
    if (!IsQualifiedName(name)) {
      causes.push_back(InvalidField("metadata.finalizers", JsonText(name), kQualified));
    }
    if (old == nullptr || !old->contains("deletionTimestamp")) continue;
    if (Contains(ArrayIn(*old, "finalizers"), finalizer)) continue;
    added += absl::StrFormat("%s\"%s\"", added.empty() ? "" : ", ", name);
  }
  if (added.empty()) return;
  causes.push_back(ForbiddenField(
      "metadata.finalizers",
      absl::StrFormat("no new finalizers can be added if the object is being deleted, found new "
                      "finalizers []string{%s}",
                      added)));
}

}  // namespace

bool IsDnsLabel(std::string_view text) {
  if (text.empty() || text.size() > 63) return false;
  if (!IsLowerAlnum(text.front()) || !IsLowerAlnum(text.back())) return false;
  return std::ranges::all_of(text, [](char c) { return IsLowerAlnum(c) || c == '-'; });
}

bool IsDnsSubdomain(std::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  while (true) {
    const size_t dot = text.find('.');
    const std::string_view part = text.substr(0, dot);
    // Unlike a label, a part may be longer than 63.
    if (part.empty() || !IsLowerAlnum(part.front()) || !IsLowerAlnum(part.back())) return false;
    if (!std::ranges::all_of(part, [](char c) { return IsLowerAlnum(c) || c == '-'; })) {
      return false;
    }
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

bool IsQualifiedName(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash != std::string_view::npos) {
    std::string prefix(text.substr(0, slash));
    // Annotations allow upper case here; nothing is lost by allowing it in general.
    for (char& c : prefix) c = (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
    if (!IsDnsSubdomain(prefix)) return false;
    text.remove_prefix(slash + 1);
  }
  return text.size() <= 63 && IsNamePart(text);
}

bool IsLabelValue(std::string_view text) {
  return text.empty() || (text.size() <= 63 && IsNamePart(text));
}

void ValidateMetadata(const object& metadata, const object* old, const Kind& kind,
                      std::vector<ErrorCause>& causes) {
  if (old == nullptr) ValidateName(StringIn(metadata, "name"), kind, causes);
  if (const object* labels = ObjectIn(metadata, "labels")) ValidateLabels(*labels, causes);
  if (const object* annotations = ObjectIn(metadata, "annotations")) {
    ValidateAnnotations(*annotations, causes);
  }
  if (const array* owners = ArrayIn(metadata, "ownerReferences")) ValidateOwners(*owners, causes);
  ValidateFinalizers(metadata, old, causes);
}

}  // namespace local_cluster
