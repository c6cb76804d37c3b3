#include "gpu-provisioner/arm/token_source.h"

#include <array>
#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/net/digest.h"

namespace gpu_provisioner {
namespace {

constexpr absl::Duration kFetchTimeout = absl::Seconds(20);
constexpr uint64_t kSecretBytesMax = 64 << 10;

struct KnownRefusal {
  std::string_view code;
  std::string_view meaning;
};

constexpr KnownRefusal kRefusals[] = {
    {"AADSTS700211", "no federated credential for this issuer; create one for the service account"},
    {"AADSTS70021", "no federated credential matches; wait some minutes after creating one"},
    {"AADSTS700024", "the service account's token has expired"},
    {"AADSTS7000215", "the client secret is wrong"},
    {"AADSTS90002", "the tenant does not exist"},
};

std::string ErrorText(const net::Response& response) {
  for (const KnownRefusal& refusal : kRefusals) {
    if (absl::StrContains(response.body,
                          absl::string_view(refusal.code.data(), refusal.code.size()))) {
      return absl::StrFormat("%s: %s", refusal.code, refusal.meaning);
    }
  }
  boost::system::error_code error;
  const auto json = boost::json::parse(response.body, error);
  if (!error && json.is_object()) {
    if (const auto* text = json.get_object().if_contains("error"); text && text->is_string()) {
      return std::string(text->get_string().c_str()).substr(0, 200);
    }
  }
  return absl::StrFormat("HTTP %d", response.status);
}

int64_t NumberOrText(const boost::json::object& object, const char* name) {
  const auto* const member = object.if_contains(name);
  if (member == nullptr) return 0;
  if (member->is_int64()) return member->get_int64();
  int64_t number = 0;
  if (member->is_string() && absl::SimpleAtoi(member->get_string().c_str(), &number)) return number;
  return 0;
}

std::string Form(std::initializer_list<std::pair<std::string_view, std::string>> fields) {
  std::string form;
  for (const auto& [name, value] : fields) {
    if (!form.empty()) form += '&';
    form += std::string(name) + '=' + net::PercentEncode(value);
  }
  return form;
}

// Service principal and workload identity: they differ in one form field.
class ClientCredentials final : public TokenSource {
 public:
  ClientCredentials(TokenSourceOptions options, Cloud cloud, HttpSenderFactory senders)
      : options_(std::move(options)), cloud_(std::move(cloud)), senders_(std::move(senders)) {}

  absl::StatusOr<FetchedToken> Fetch(const std::string& claims) override {
    ASSIGN_OR_RETURN(const CloudEndpoints endpoints, cloud_.Endpoints(senders_));
    const bool federated = options_.auth == "workload-identity";
    const std::string& file =
        federated ? options_.federated_token_file : options_.client_secret_file;
    ASSIGN_OR_RETURN(std::string secret, base::ReadFile(file, kSecretBytesMax));
    absl::StripAsciiWhitespace(&secret);

    std::string body = Form({{"client_id", options_.client_id},
                             {"grant_type", "client_credentials"},
                             {"scope", endpoints.scope}});
    if (federated) {
      body +=
          '&' +
          Form({{"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
                {"client_assertion", secret}});
    } else {
      body += '&' + Form({{"client_secret", secret}});
    }
    if (!claims.empty()) body += '&' + Form({{"claims", claims}});
    return Post(endpoints.authority, std::move(body));
  }

 private:
  absl::StatusOr<FetchedToken> Post(const std::string& authority, std::string body) {
    const std::string& host = options_.authority_host.empty() ? authority : options_.authority_host;
    ASSIGN_OR_RETURN(const auto sender, senders_(host));
    net::Request request{
        .method = "POST",
        .target = absl::StrFormat("/%s/oauth2/v2.0/token", net::PercentEncode(options_.tenant_id)),
        .body = std::move(body)};
    request.headers.Set("Content-Type", "application/x-www-form-urlencoded");
    request.headers.Set("client-request-id", net::RandomUuid());
    request.headers.Set("return-client-request-id", "true");
    ASSIGN_OR_RETURN(const net::Response response, sender->Send(request, kFetchTimeout));
    return ParseTokenAnswer(response, "get a token from the token endpoint");
  }

  const TokenSourceOptions options_;
  const Cloud cloud_;
  const HttpSenderFactory senders_;
};

class ManagedIdentity final : public TokenSource {
 public:
  ManagedIdentity(TokenSourceOptions options, Cloud cloud, HttpSenderFactory senders)
      : options_(std::move(options)), cloud_(std::move(cloud)), senders_(std::move(senders)) {}

  absl::StatusOr<FetchedToken> Fetch(const std::string&) override {
    ASSIGN_OR_RETURN(const CloudEndpoints endpoints, cloud_.Endpoints(senders_));
    std::string resource = endpoints.scope;
    if (absl::EndsWith(resource, ".default")) resource.resize(resource.size() - 8);
    ASSIGN_OR_RETURN(const auto sender, senders_(options_.imds_url));
    net::Request request{.target =
                             "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=" +
                             net::PercentEncode(resource)};
    if (!options_.client_id.empty()) {
      request.target += "&client_id=" + net::PercentEncode(options_.client_id);
    }
    request.headers.Set("Metadata", "true");
    ASSIGN_OR_RETURN(const net::Response response, sender->Send(request, kFetchTimeout));
    // IMDS being updated; it heals by itself.
    if (response.status == 404 || response.status == 410) {
      return absl::UnavailableError(
          absl::StrFormat("get a token from IMDS: HTTP %d, it is being updated", response.status));
    }
    return ParseTokenAnswer(response, "get a token from IMDS");
  }

 private:
  const TokenSourceOptions options_;
  const Cloud cloud_;
  const HttpSenderFactory senders_;
};

// `az`, for development. The command is fixed, so a shell adds nothing that could be injected.
class AzureCli final : public TokenSource {
 public:
  AzureCli(Cloud cloud, HttpSenderFactory senders)
      : cloud_(std::move(cloud)), senders_(std::move(senders)) {}

  absl::StatusOr<FetchedToken> Fetch(const std::string&) override {
    FILE* const pipe = popen(
        "timeout 20 az account get-access-token --resource https://management.azure.com/ -o json "
        "2>/dev/null",
        "r");
    if (pipe == nullptr) return absl::UnavailableError("get a token from az: cannot start it");
    std::string output;
    std::array<char, 4096> buffer{};
    while (output.size() < kSecretBytesMax) {
      const size_t read = fread(buffer.data(), 1, buffer.size(), pipe);
      if (read == 0) break;
      output.append(buffer.data(), read);
    }
    if (pclose(pipe) != 0) {
      return absl::UnauthenticatedError("get a token from az: it failed; run `az login`");
    }
    return Parse(output);
  }

 private:
  static absl::StatusOr<FetchedToken> Parse(const std::string& output) {
    boost::system::error_code error;
    const auto json = boost::json::parse(output, error);
    const auto* const root = error ? nullptr : json.if_object();
    const auto* const token = root == nullptr ? nullptr : root->if_contains("accessToken");
    if (token == nullptr || !token->is_string()) {
      return absl::UnavailableError("get a token from az: no accessToken in its answer");
    }
    // expires_on is seconds since 1970; expiresOn is local time and is not trusted.
    const int64_t expires = NumberOrText(*root, "expires_on");
    const absl::Duration lifetime =
        expires > 0 ? absl::FromUnixSeconds(expires) - absl::Now() : absl::Minutes(10);
    return FetchedToken{token->get_string().c_str(), lifetime};
  }

  const Cloud cloud_;
  const HttpSenderFactory senders_;
};

class NoToken final : public TokenSource {
 public:
  absl::StatusOr<FetchedToken> Fetch(const std::string&) override {
    return FetchedToken{"", absl::Hours(24)};
  }
};

absl::Status Missing(std::string_view auth, std::string_view flag) {
  return absl::InvalidArgumentError(absl::StrFormat("--auth=%s needs --%s", auth, flag));
}

}  // namespace

absl::StatusOr<FetchedToken> ParseTokenAnswer(const net::Response& response,
                                              std::string_view what) {
  if (response.status == 429 || response.status >= 500) {
    return absl::UnavailableError(absl::StrFormat("%s: HTTP %d", what, response.status));
  }
  if (response.status != 200) {
    return absl::UnauthenticatedError(absl::StrFormat("%s: %s", what, ErrorText(response)));
  }
  boost::system::error_code error;
  const auto json = boost::json::parse(response.body, error);
  const auto* const root = error ? nullptr : json.if_object();
  const auto* const token = root == nullptr ? nullptr : root->if_contains("access_token");
  if (token == nullptr || !token->is_string() || token->get_string().empty()) {
    return absl::UnavailableError(absl::StrFormat("%s: no access_token in the answer", what));
  }
  const int64_t seconds = NumberOrText(*root, "expires_in");
  return FetchedToken{token->get_string().c_str(), absl::Seconds(seconds > 0 ? seconds : 300)};
}

absl::StatusOr<std::unique_ptr<TokenSource>> MakeTokenSource(const TokenSourceOptions& options,
                                                             Cloud cloud,
                                                             HttpSenderFactory senders) {
  TokenSourceOptions chosen = options;
  if (chosen.auth == "auto") {
    chosen.auth = chosen.federated_token_file.empty() ? "managed-identity" : "workload-identity";
  }
  if (chosen.auth == "none") return std::make_unique<NoToken>();
  if (chosen.auth == "cli") return std::make_unique<AzureCli>(std::move(cloud), std::move(senders));
  if (chosen.auth == "managed-identity") {
    return std::make_unique<ManagedIdentity>(chosen, std::move(cloud), std::move(senders));
  }
  const bool federated = chosen.auth == "workload-identity";
  if (!federated && chosen.auth != "service-principal") {
    return absl::InvalidArgumentError(
        absl::StrFormat("--auth=%s: must be auto, workload-identity, managed-identity, "
                        "service-principal, cli or none",
                        chosen.auth));
  }
  if (chosen.tenant_id.empty()) return Missing(chosen.auth, "tenant_id");
  if (chosen.client_id.empty()) return Missing(chosen.auth, "client_id");
  if (federated && chosen.federated_token_file.empty()) {
    return Missing(chosen.auth, "federated_token_file (or AZURE_FEDERATED_TOKEN_FILE)");
  }
  if (!federated && chosen.client_secret_file.empty()) {
    return Missing(chosen.auth, "client_secret_file");
  }
  return std::make_unique<ClientCredentials>(std::move(chosen), std::move(cloud),
                                             std::move(senders));
}

}  // namespace gpu_provisioner
