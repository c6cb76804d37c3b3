#include "local-cluster/apiserver/authenticator.h"

#include <utility>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "common/net/digest.h"

namespace local_cluster {
namespace {

constexpr char kIssuer[] = "https://kubernetes.default.svc.cluster.local";
constexpr size_t kTokenBytesMax = 8 << 10;

std::string Hmac(const std::string& key, std::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &size);
  return std::string(reinterpret_cast<const char*>(digest), size);
}

std::string Base64(std::string_view text) {
  return absl::WebSafeBase64Escape(absl::string_view(text.data(), text.size()));
}

}  // namespace

Authenticator::Authenticator(const Store& store, const base::Clock& clock, std::string signing_key)
    : store_(store), clock_(clock), signing_key_(std::move(signing_key)) {}

std::optional<User> Authenticator::Identify(const net::Exchange& exchange) const {
  if (!exchange.client_common_name().empty()) {
    User user;
    user.name = exchange.client_common_name();
    user.groups = exchange.client_organizations();
    user.groups.emplace_back("system:authenticated");
    return user;
  }
  const std::string_view header = exchange.request().headers.Find("Authorization").value_or("");
  constexpr std::string_view kBearer = "Bearer ";
  if (!header.starts_with(kBearer)) return std::nullopt;
  return Verify(header.substr(kBearer.size()));
}

std::string Authenticator::Sign(const ServiceAccountToken& account, absl::Time expires) const {
  const boost::json::object claims{
      {"iss", kIssuer},
      {"aud", boost::json::array{kIssuer}},
      {"sub", absl::StrFormat("system:serviceaccount:%s:%s", account.namespace_name, account.name)},
      {"iat", absl::ToUnixSeconds(clock_.Now())},
      {"exp", absl::ToUnixSeconds(expires)},
      {"jti", net::RandomUuid()},
      {"kubernetes.io",
       {{"namespace", account.namespace_name},
        {"serviceaccount", {{"name", account.name}, {"uid", account.uid}}}}}};
  const std::string text =
      Base64(R"({"alg":"HS256","typ":"JWT"})") + "." + Base64(boost::json::serialize(claims));
  return text + "." + Base64(Hmac(signing_key_, text));
}

std::optional<User> Authenticator::Verify(std::string_view token) const {
  if (token.size() > kTokenBytesMax) return std::nullopt;
  const size_t second = token.rfind('.');
  const size_t first = token.find('.');
  if (second == std::string_view::npos || first == second) return std::nullopt;
  const std::string_view text = token.substr(0, second);
  if (!net::EqualInConstantTime(Base64(Hmac(signing_key_, text)), token.substr(second + 1))) {
    return std::nullopt;
  }
  std::string claims_text;
  const std::string_view body = text.substr(first + 1);
  if (!absl::WebSafeBase64Unescape(absl::string_view(body.data(), body.size()), &claims_text)) {
    return std::nullopt;
  }
  const auto claims = kube::ParseJson(claims_text);
  if (!claims.ok() || kube::IntAt(*claims, {"exp"}) <= absl::ToUnixSeconds(clock_.Now())) {
    return std::nullopt;
  }
  const std::string space(kube::StringAt(*claims, {"kubernetes.io", "namespace"}));
  const std::string name(kube::StringAt(*claims, {"kubernetes.io", "serviceaccount", "name"}));
  const std::string_view uid = kube::StringAt(*claims, {"kubernetes.io", "serviceaccount", "uid"});
  const StoredObject account = store_.Get({"/serviceaccounts", space, name});
  if (!account || kube::StringAt(*account.value, {"metadata", "uid"}) != uid) return std::nullopt;
  User user;
  user.name = absl::StrFormat("system:serviceaccount:%s:%s", space, name);
  user.groups = {"system:serviceaccounts", absl::StrFormat("system:serviceaccounts:%s", space),
                 "system:authenticated"};
  user.uid = uid;
  return user;
}

}  // namespace local_cluster
