#include "gpu-provisioner/rpc/provisioner_service.h"

#include <algorithm>
#include <atomic>
#include <set>

#include <grpcpp/grpcpp.h>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

#include "common/base/clock.h"
#include "gpu-provisioner/rpc/messages.h"
#include "kaito/provisioner/v1/provisioner.grpc.pb.h"

namespace gpu_provisioner {
namespace {

namespace v1 = kaito::provisioner::v1;

constexpr absl::Duration kLook = absl::Milliseconds(500);  // How fast a cancelled stream ends.
constexpr absl::Duration kHeartbeat = absl::Seconds(15);
constexpr int kNamesMax = 1000;

}  // namespace

struct ProvisionerService::Impl final : public v1::Provisioner::Service {
  Impl(gpu_provisioner::Provisioner& parts, ProvisionerServiceOptions service_options)
      : provisioner(parts), options(std::move(service_options)) {}

  // One of the streams that may be open at a time.
  class Slot {
   public:
    explicit Slot(Impl& impl) : impl_(impl), held_(++impl.streams <= impl.options.streams_max) {}
    ~Slot() { --impl_.streams; }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    grpc::Status status() const {
      if (held_) return grpc::Status::OK;
      return {grpc::StatusCode::RESOURCE_EXHAUSTED,
              absl::StrFormat("%d streams are open; close some", impl_.options.streams_max)};
    }

   private:
    Impl& impl_;
    const bool held_;
  };

  grpc::Status Check() const {
    if (options.is_leader && !options.is_leader()) {
      return {grpc::StatusCode::UNAVAILABLE, "this replica does not lead; ask the other"};
    }
    return grpc::Status::OK;
  }

  bool Ended(grpc::ServerContext* context) const {
    return stopped.load() || context->IsCancelled() || !Check().ok();
  }

  grpc::Status ListInstanceTypes(grpc::ServerContext*, const v1::ListInstanceTypesRequest* request,
                                 v1::ListInstanceTypesResponse* response) override {
    if (const grpc::Status status = Check(); !status.ok()) return status;
    std::set<std::string> names;
    for (const std::string& name : request->names()) names.insert(Folded(name));
    const auto skus = provisioner.facts().skus();
    for (const catalog::GpuType* type : provisioner.types().All("azure")) {
      if (!names.empty() && !names.contains(Folded(type->name))) continue;
      if (type->memory_total_gib < request->gpu_memory_gib_min()) continue;
      if (!request->vendor().empty() && !EqualFolded(type->vendor, request->vendor())) continue;
      const auto sku = skus->find(Folded(type->name));
      *response->add_types() = ToMessage(*type, sku == skus->end() ? nullptr : &sku->second);
    }
    return grpc::Status::OK;
  }

  grpc::Status Plan(grpc::ServerContext* context, const v1::PlanRequest* request,
                    grpc::ServerWriter<v1::PlanResponse>* writer) override {
    if (const grpc::Status status = Check(); !status.ok()) return status;
    const Slot slot(*this);
    if (!slot.status().ok()) return slot.status();
    if (request->instance_types_size() > kNamesMax) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "instance_types: too many"};
    }
    const NodeRequest claim = ToRequest(*request, options.location);
    if (!claim.invalid.empty()) return {grpc::StatusCode::INVALID_ARGUMENT, claim.invalid};
    std::string last;
    do {
      const std::vector<gpu_provisioner::Offering> offerings = provisioner.reconciler().Plan(claim);
      const v1::PlanResponse response =
          ToPlan(claim, offerings, std::max(1, static_cast<int>(request->count())),
                 provisioner.reconciler().PoolsLeft(), provisioner.clock().Monotonic(),
                 provisioner.clock().Now());
      const std::string bytes = response.SerializeAsString();
      if (bytes != last && !writer->Write(response)) return grpc::Status::CANCELLED;
      last = bytes;
      if (request->watch()) provisioner.board().ChangesAfter(UINT64_MAX, kLook);
    } while (request->watch() && !Ended(context));
    return grpc::Status::OK;
  }

  grpc::Status Explain(grpc::ServerContext* context, const v1::ExplainRequest* request,
                       grpc::ServerWriter<v1::ExplainResponse>* writer) override {
    if (const grpc::Status status = Check(); !status.ok()) return status;
    const Slot slot(*this);
    if (!slot.status().ok()) return slot.status();
    uint64_t told = 0;
    do {
      const auto state = provisioner.board().Find(request->claim());
      if (!state) {
        if (told != 0) return grpc::Status::OK;  // It is gone.
        return {grpc::StatusCode::NOT_FOUND,
                absl::StrFormat("claim %s is not known here", request->claim())};
      }
      if (state->version != told) {
        told = state->version;
        const auto response =
            ToExplanation(*state, provisioner.clock().Monotonic(), provisioner.clock().Now());
        if (!writer->Write(response)) return grpc::Status::CANCELLED;
      }
      if (request->watch()) provisioner.board().ChangesAfter(told, kLook);
    } while (request->watch() && !Ended(context));
    return grpc::Status::OK;
  }

  grpc::Status WatchProgress(grpc::ServerContext* context, const v1::WatchProgressRequest* request,
                             grpc::ServerWriter<v1::ClaimProgress>* writer) override {
    if (const grpc::Status status = Check(); !status.ok()) return status;
    const Slot slot(*this);
    if (!slot.status().ok()) return slot.status();
    if (request->claims_size() > kNamesMax) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "claims: too many"};
    }
    const std::set<std::string> names(request->claims().begin(), request->claims().end());
    const auto wanted = [&](const ClaimState& state) {
      if (names.contains(state.claim)) return true;
      if (request->workspace().empty()) return names.empty();
      return state.workspace == request->workspace() &&
             state.workspace_namespace == request->workspace_namespace();
    };
    uint64_t version = 0;
    absl::Time last_write = absl::Now();
    while (!Ended(context)) {
      const bool first_look = version == 0;
      for (const ClaimState& state : provisioner.board().ChangesAfter(version, kLook)) {
        version = std::max(version, state.version);
        if (!wanted(state) || (first_look && state.phase == gpu_provisioner::Phase::kGone))
          continue;
        const auto message = ToProgress(state, provisioner.clock().Monotonic(),
                                        provisioner.board().TypicalSeconds());
        if (!writer->Write(message)) return grpc::Status::CANCELLED;
        last_write = absl::Now();
      }
      if (absl::Now() - last_write < kHeartbeat) continue;
      if (!writer->Write(v1::ClaimProgress())) return grpc::Status::CANCELLED;
      last_write = absl::Now();
    }
    return grpc::Status::OK;
  }

  gpu_provisioner::Provisioner& provisioner;
  const ProvisionerServiceOptions options;
  std::atomic<int> streams = 0;
  std::atomic<bool> stopped = false;
};

ProvisionerService::ProvisionerService(Provisioner& provisioner, ProvisionerServiceOptions options)
    : impl_(std::make_unique<Impl>(provisioner, std::move(options))) {}

ProvisionerService::~ProvisionerService() = default;

grpc::Service* ProvisionerService::service() { return impl_.get(); }

void ProvisionerService::Stop() { impl_->stopped = true; }

}  // namespace gpu_provisioner
