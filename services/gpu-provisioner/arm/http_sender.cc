#include "gpu-provisioner/arm/http_sender.h"

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"
#include "common/net/http_client.h"

namespace gpu_provisioner {
namespace {

constexpr size_t kBodyBytesMax = 8 << 20;

class ClientSender final : public HttpSender {
 public:
  explicit ClientSender(net::HttpClientOptions options) : client_(std::move(options)) {}

  absl::StatusOr<net::Response> Send(const net::Request& request, absl::Duration timeout) override {
    return client_.Send(request, timeout);
  }

 private:
  net::HttpClient client_;
};

bool MayBePlain(const std::string& host) {
  return host == "localhost" || host == "::1" || host == "169.254.169.254" ||
         absl::StartsWith(host, "127.");
}

}  // namespace

HttpSenderFactory MakeHttpSenderFactory(std::string ca_pem) {
  return [ca_pem = std::move(ca_pem)](
             const std::string& base_url) -> absl::StatusOr<std::unique_ptr<HttpSender>> {
    ASSIGN_OR_RETURN(const net::Url url, net::ParseUrl(base_url));
    if (url.scheme != "https" && !MayBePlain(url.host)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: plain http is allowed to this machine only; use https", base_url));
    }
    net::HttpClientOptions options;
    options.base_url = base_url;
    while (absl::EndsWith(options.base_url, "/")) options.base_url.pop_back();
    options.tls.ca_pem = ca_pem;
    options.user_agent = "gpu-provisioner";
    options.connect_timeout = absl::Seconds(5);
    options.response_bytes_max = kBodyBytesMax;
    options.idle_connections_max = 16;
    return std::make_unique<ClientSender>(std::move(options));
  };
}

}  // namespace gpu_provisioner
