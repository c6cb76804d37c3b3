#include "local-cluster/azure/token_issuer.h"

#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "common/net/digest.h"
#include "local-cluster/azure/answers.h"

namespace local_cluster::azure {
namespace {

net::Response OauthError(int status, std::string_view error, std::string_view description) {
  return JsonAnswer(status, boost::json::object{{"error", std::string(error)},
                                                {"error_description", std::string(description)}});
}

std::string Encoded(std::string_view text) {
  std::string encoded;
  absl::WebSafeBase64Escape(absl::string_view(text.data(), text.size()), &encoded);
  return encoded;
}

}  // namespace

TokenIssuer::TokenIssuer(TokenIssuerOptions options)
    : options_(std::move(options)), key_(net::RandomHex(64)) {}

std::string TokenIssuer::Sign(std::string_view payload) const {
  return net::Sha256Hex(key_ + "." + std::string(payload) + "." + key_);
}

std::string TokenIssuer::Issue(absl::Time now) const {
  const std::string header = Encoded(R"({"typ":"JWT","alg":"HS256"})");
  const std::string payload = Encoded(boost::json::serialize(
      boost::json::object{{"aud", options_.audience},
                          {"appid", options_.client_id},
                          {"jti", net::RandomHex(16)},
                          {"exp", absl::ToUnixSeconds(now + options_.lifetime)}}));
  return header + "." + payload + "." + Sign(payload);
}

net::Response TokenIssuer::Answer(std::string_view path, std::string_view form,
                                  absl::Time now) const {
  const auto field = [&](std::string_view name) {
    return net::QueryParameter(form, name).value_or("");
  };
  if (!absl::StrContains(Lower(path), "/" + Lower(options_.tenant_id) + "/")) {
    return OauthError(400, "invalid_request", "AADSTS90002: Tenant not found.");
  }
  if (field("grant_type") != "client_credentials" || field("client_id") != options_.client_id) {
    return OauthError(400, "unauthorized_client",
                      "AADSTS700016: Application was not found in the directory.");
  }
  const bool secret = net::EqualInConstantTime(field("client_secret"), options_.client_secret);
  if (field("client_assertion").empty() && !secret) {
    return OauthError(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.");
  }
  if (field("scope") != options_.audience + ".default") {
    return OauthError(400, "invalid_scope",
                      "AADSTS70011: The provided value for scope is invalid.");
  }
  return JsonAnswer(200,
                    boost::json::object{{"token_type", "Bearer"},
                                        {"expires_in", absl::ToInt64Seconds(options_.lifetime)},
                                        {"ext_expires_in", absl::ToInt64Seconds(options_.lifetime)},
                                        {"access_token", Issue(now)}});
}

net::Response TokenIssuer::AnswerImds(const net::Request& request, absl::Time now) const {
  if (request.headers.Find("Metadata") != "true") {
    return OauthError(400, "invalid_request", "Required metadata header not specified");
  }
  // IMDS writes numbers as strings.
  return JsonAnswer(
      200, boost::json::object{
               {"access_token", Issue(now)},
               {"client_id", options_.client_id},
               {"expires_in", absl::StrFormat("%d", absl::ToInt64Seconds(options_.lifetime))},
               {"expires_on", absl::StrFormat("%d", absl::ToUnixSeconds(now + options_.lifetime))},
               {"resource", options_.audience},
               {"token_type", "Bearer"}});
}

std::optional<net::Response> TokenIssuer::Refuse(const net::Request& request,
                                                 absl::Time now) const {
  const auto refusal = [](std::string_view code, std::string_view message) {
    net::Response response = ErrorAnswer(401, code, message);
    response.headers.Set("WWW-Authenticate", "Bearer error=\"invalid_token\"");
    return response;
  };
  const auto header = request.headers.Find("Authorization");
  if (!header || header->rfind("Bearer ", 0) != 0) {
    return refusal("AuthenticationFailed",
                   "Authentication failed. The 'Authorization' header is "
                   "missing.");
  }
  const std::string_view token = header->substr(7);
  const size_t first = token.find('.');
  const size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos) {
    return refusal("InvalidAuthenticationToken", "The access token is invalid.");
  }
  const std::string_view payload = token.substr(first + 1, second - first - 1);
  if (!net::EqualInConstantTime(Sign(payload), token.substr(second + 1))) {
    return refusal("InvalidAuthenticationToken", "The access token's signature is invalid.");
  }
  std::string text;
  absl::WebSafeBase64Unescape(absl::string_view(payload.data(), payload.size()), &text);
  const auto claims = kube::ParseJson(text);
  if (!claims.ok() || kube::StringAt(*claims, {"aud"}) != options_.audience) {
    return refusal("InvalidAuthenticationTokenAudience", "The access token's audience is wrong.");
  }
  if (kube::IntAt(*claims, {"exp"}) <= absl::ToUnixSeconds(now)) {
    return refusal("ExpiredAuthenticationToken",
                   "The access token expiry UTC time is earlier than current UTC time.");
  }
  return std::nullopt;
}

}  // namespace local_cluster::azure
