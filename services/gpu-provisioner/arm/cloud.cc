#include "gpu-provisioner/arm/cloud.h"

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"

namespace gpu_provisioner {
namespace {

absl::StatusOr<CloudEndpoints> ParseMetadata(const std::string& arm, std::string_view body) {
  boost::system::error_code error;
  const auto json = boost::json::parse(boost::json::string_view(body.data(), body.size()), error);
  const auto text = [&](const char* pointer) -> std::string {
    boost::system::error_code missing;
    const auto* const value = json.find_pointer(pointer, missing);
    return value != nullptr && value->is_string() ? value->get_string().c_str() : "";
  };
  const std::string login = error ? "" : text("/authentication/loginEndpoint");
  const std::string audience = error ? "" : text("/authentication/audiences/0");
  if (login.empty() || audience.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s/metadata/endpoints: no authentication.loginEndpoint and audiences in the answer", arm));
  }
  return CloudEndpoints{
      .authority = login,
      .arm = arm,
      .scope = audience + (absl::EndsWith(audience, "/") ? ".default" : "/.default")};
}

}  // namespace

absl::StatusOr<Cloud> Cloud::Named(std::string_view name, const std::string& arm_endpoint) {
  Cloud cloud;
  if (name == "public") {
    cloud.endpoints_ = {"https://login.microsoftonline.com/", "https://management.azure.com",
                        "https://management.azure.com/.default"};
  } else if (name == "china") {
    cloud.endpoints_ = {"https://login.chinacloudapi.cn/", "https://management.chinacloudapi.cn",
                        "https://management.core.chinacloudapi.cn/.default"};
  } else if (name == "usgov") {
    cloud.endpoints_ = {"https://login.microsoftonline.us/", "https://management.usgovcloudapi.net",
                        "https://management.core.usgovcloudapi.net/.default"};
  } else if (name == "custom") {
    cloud.custom_ = true;
    if (arm_endpoint.empty()) {
      return absl::InvalidArgumentError("--cloud=custom needs --arm_endpoint=URL");
    }
  } else {
    return absl::InvalidArgumentError(
        absl::StrFormat("--cloud=%s: must be public, china, usgov or custom", name));
  }
  if (!arm_endpoint.empty()) cloud.endpoints_.arm = arm_endpoint;
  while (absl::EndsWith(cloud.endpoints_.arm, "/")) cloud.endpoints_.arm.pop_back();
  return cloud;
}

absl::StatusOr<CloudEndpoints> Cloud::Endpoints(const HttpSenderFactory& senders) const {
  if (!custom_) return endpoints_;
  ASSIGN_OR_RETURN(const auto sender, senders(endpoints_.arm));
  ASSIGN_OR_RETURN(
      const net::Response response,
      sender->Send({.target = "/metadata/endpoints?api-version=2022-09-01"}, absl::Seconds(20)));
  RETURN_IF_ERROR(net::ToStatus(response, "get metadata/endpoints"));
  return ParseMetadata(endpoints_.arm, response.body);
}

}  // namespace gpu_provisioner
