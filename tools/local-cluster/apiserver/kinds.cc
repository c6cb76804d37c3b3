#include "local-cluster/apiserver/kinds.h"

#include <algorithm>
#include <charconv>
#include <tuple>

#include "local-cluster/apiserver/builtin_kinds.h"

namespace local_cluster {
namespace {

// "v1beta2" → (is one, stability 2 = stable, major 1, minor 2).
std::tuple<bool, int, int, int> ParsedVersion(std::string_view text) {
  const auto number = [&text]() {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || value <= 0) return 0;
    text.remove_prefix(end - text.data());
    return value;
  };
  if (!text.starts_with("v")) return {false, 0, 0, 0};
  text.remove_prefix(1);
  const int major = number();
  if (major == 0) return {false, 0, 0, 0};
  if (text.empty()) return {true, 2, major, 0};
  const bool beta = text.starts_with("beta");
  if (!beta && !text.starts_with("alpha")) return {false, 0, 0, 0};
  text.remove_prefix(beta ? 4 : 5);
  const int minor = number();
  if (minor == 0 || !text.empty()) return {false, 0, 0, 0};
  return {true, beta ? 1 : 0, major, minor};
}

}  // namespace

bool VersionPrecedes(std::string_view a, std::string_view b) {
  const auto left = ParsedVersion(a);
  const auto right = ParsedVersion(b);
  if (left != right) return left > right;
  return a < b;
}

const KindVersion* Kind::Version(std::string_view name) const {
  for (const KindVersion& version : versions) {
    if (version.name == name) return &version;
  }
  return nullptr;
}

KindRegistry::KindRegistry() : kinds_(BuiltinKinds()) {}

std::shared_ptr<const Kind> KindRegistry::Find(std::string_view group, std::string_view version,
                                               std::string_view plural) const {
  for (const auto& kind : kinds_) {
    if (kind->plural != plural || kind->group != group) continue;
    const KindVersion* found = kind->Version(version);
    return found != nullptr && found->served ? kind : nullptr;
  }
  return nullptr;
}

std::shared_ptr<const Kind> KindRegistry::FindKind(std::string_view group,
                                                   std::string_view name) const {
  for (const auto& kind : kinds_) {
    if (kind->kind == name && kind->group == group) return kind;
  }
  return nullptr;
}

bool KindRegistry::HasGroup(std::string_view group) const {
  return std::ranges::any_of(kinds_, [&](const auto& kind) { return kind->group == group; });
}

std::shared_ptr<const KindRegistry> KindRegistry::With(std::shared_ptr<const Kind> kind) const {
  auto copy = std::make_shared<KindRegistry>(*this);
  std::erase_if(copy->kinds_, [&](const auto& other) {
    return other->group == kind->group && other->plural == kind->plural;
  });
  copy->kinds_.push_back(std::move(kind));
  return copy;
}

std::shared_ptr<const KindRegistry> KindRegistry::Without(std::string_view group,
                                                          std::string_view plural) const {
  auto copy = std::make_shared<KindRegistry>(*this);
  std::erase_if(copy->kinds_, [&](const auto& other) {
    return other->custom && other->group == group && other->plural == plural;
  });
  return copy;
}

}  // namespace local_cluster
