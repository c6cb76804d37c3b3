#include "local-cluster/apiserver/service_addresses.h"

#include <optional>
#include <string_view>
#include <utility>

#include <arpa/inet.h>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "local-cluster/apiserver/schema/errors.h"
#include "local-cluster/apiserver/schema/json_edit.h"

namespace local_cluster {
namespace {

constexpr uint32_t kFirst = (127U << 24U | 96U << 16U) + 2;  // .0.1 is left for the API itself.
constexpr uint32_t kLast = (127U << 24U | 111U << 16U | 255U << 8U) + 254;
constexpr size_t kPromisesMax = 10'000;

std::optional<uint32_t> ParseAddress(std::string_view text) {
  in_addr address{};
  if (inet_pton(AF_INET, std::string(text).c_str(), &address) != 1) return std::nullopt;
  return ntohl(address.s_addr);
}

std::string FormatAddress(uint32_t address) {
  return absl::StrFormat("%d.%d.%d.%d", address >> 24U, address >> 16U & 255U, address >> 8U & 255U,
                         address & 255U);
}

absl::Status Refuse(const boost::json::value& service, std::string_view address,
                    std::string_view why) {
  return InvalidError(
      {"", "services", "Service"}, kube::StringAt(service, {"metadata", "name"}),
      {InvalidField("spec.clusterIPs", boost::json::array{address},
                    absl::StrFormat("failed to allocate IP %s: %s", address, why))});
}

}  // namespace

std::set<uint32_t> ServiceAddresses::Taken() const {
  std::set<uint32_t> taken = promised_;
  ListRange range;
  range.resource = "/services";
  const auto services = store_.List(range);
  if (!services.ok()) return taken;
  for (const StoredObject& service : services->items) {
    const auto address = ParseAddress(kube::StringAt(*service.value, {"spec", "clusterIP"}));
    if (address) taken.insert(*address);
  }
  return taken;
}

absl::Status ServiceAddresses::Assign(boost::json::value& service, const boost::json::value* old) {
  boost::json::object& spec = MakeObject(service.as_object(), "spec");
  if (StringIn(spec, "type") == "ExternalName") {
    spec.erase("clusterIP");
    spec.erase("clusterIPs");
    return absl::OkStatus();
  }
  std::string wanted(StringIn(spec, "clusterIP"));
  const std::string before(old == nullptr ? std::string_view()
                                          : kube::StringAt(*old, {"spec", "clusterIP"}));
  if (wanted.empty()) wanted = before;
  if (wanted != before && wanted != "None" && !wanted.empty()) {
    const auto address = ParseAddress(wanted);
    absl::MutexLock lock(&mutex_);
    if (!address || *address < kFirst || *address > kLast) {
      return Refuse(service, wanted, "the provided IP is not in the valid range 127.96.0.0/12");
    }
    if (Taken().contains(*address)) {
      return Refuse(service, wanted, "provided IP is already allocated");
    }
    promised_.insert(*address);
  } else if (wanted.empty()) {
    absl::MutexLock lock(&mutex_);
    if (promised_.size() > kPromisesMax) promised_.clear();
    const std::set<uint32_t> taken = Taken();
    uint32_t address = kFirst;
    while (address <= kLast && taken.contains(address)) ++address;
    if (address > kLast) return Refuse(service, "", "range is full");
    promised_.insert(address);
    wanted = FormatAddress(address);
  }
  spec["clusterIP"] = wanted;
  spec["clusterIPs"] = boost::json::array{wanted};
  return absl::OkStatus();
}

void ServiceAddresses::Settle(const boost::json::value& service) {
  const auto address = ParseAddress(kube::StringAt(service, {"spec", "clusterIP"}));
  if (!address) return;
  absl::MutexLock lock(&mutex_);
  promised_.erase(*address);
}

}  // namespace local_cluster
