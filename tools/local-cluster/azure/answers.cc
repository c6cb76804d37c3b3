#include "local-cluster/azure/answers.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"

namespace local_cluster::azure {

net::Response JsonAnswer(int status, const boost::json::value& body) {
  net::Response response{.status = status, .body = boost::json::serialize(body)};
  response.headers.Set("Content-Type", "application/json");
  return response;
}

net::Response ErrorAnswer(int status, std::string_view code, std::string_view message) {
  return JsonAnswer(status, boost::json::object{
                                {"error", boost::json::object{{"code", std::string(code)},
                                                              {"message", std::string(message)}}}});
}

net::Response PoolNotFound() { return ErrorAnswer(404, "NotFound", "Agent Pool not found"); }

net::Response ClusterNotFound(std::string_view cluster, std::string_view resource_group) {
  net::Response response = ErrorAnswer(
      404, "ResourceNotFound",
      absl::StrFormat("The Resource 'Microsoft.ContainerService/managedClusters/%s' under resource "
                      "group '%s' was not found. For more details please go to "
                      "https://aka.ms/ARMResourceNotFoundFix",
                      cluster, resource_group));
  response.headers.Set("x-ms-failure-cause", "gateway");
  return response;
}

net::Response InProgressCreate(absl::Time started) {
  return ErrorAnswer(
      409, "OperationNotAllowed",
      absl::StrFormat("Operation is not allowed because there's an in progress create node pool "
                      "operation on the managed cluster started at %s. To learn more about this "
                      "error and the potential solution see https://aka.ms/aks-pending-operation",
                      absl::FormatTime(started, absl::UTCTimeZone())));
}

net::Response InProgressOther(std::string_view operation) {
  return ErrorAnswer(
      409, "OperationNotAllowed",
      absl::StrFormat("Another operation (%s) is in progress, please wait for it to finish before "
                      "starting a new operation. See https://aka.ms/aks-pending-operation for more "
                      "details",
                      operation));
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  absl::AsciiStrToLower(&lower);
  return lower;
}

}  // namespace local_cluster::azure
