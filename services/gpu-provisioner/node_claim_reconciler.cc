#include "gpu-provisioner/node_claim_reconciler.h"

#include <algorithm>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/kube/conditions.h"
#include "gpu-provisioner/nodes.h"
#include "gpu-provisioner/reconcile_pass.h"

namespace gpu_provisioner {
namespace {

constexpr absl::Duration kBetweenPuts = absl::Seconds(60);
constexpr int kTimeoutsPerMinute = 5;
constexpr size_t kTriedMax = 8;

bool IsQuota(ErrorClass error_class) {
  return error_class == ErrorClass::kQuotaFamily || error_class == ErrorClass::kQuotaRegion ||
         error_class == ErrorClass::kQuotaSpot;
}

// How long a timer of `limit` has run that began at `began` by the wall clock: what a jump of that
// clock or a restart can make of it is bounded, and two minutes of watching always remain.
absl::Duration ClampedAge(absl::Time wall, absl::Time began, absl::Duration limit) {
  return std::clamp(wall - began, absl::ZeroDuration(),
                    std::max(absl::ZeroDuration(), limit - absl::Minutes(2)));
}

std::optional<absl::Time> LaunchedSince(const kube::Object& claim) {
  if (!kube::IsConditionTrue(claim, "Launched")) return std::nullopt;
  for (const auto& entry : claim.Find({"status", "conditions"})->as_array()) {
    if (entry.at("type").as_string() != "Launched") continue;
    const auto* const time = entry.as_object().if_contains("lastTransitionTime");
    if (time != nullptr && time->is_string()) return kube::ParseTime(time->get_string().c_str());
  }
  return std::nullopt;
}

}  // namespace

NodeClaimReconciler::NodeClaimReconciler(Parts parts, ReconcilerOptions options)
    : parts_(parts), options_(std::move(options)) {}

absl::StatusOr<kube::ReconcileResult> NodeClaimReconciler::Reconcile(const kube::ObjectKey& key) {
  const std::optional<kube::Object> object = parts_.cluster.Claim(key.name);
  if (!object || !IsOurs(*object)) {
    parts_.board.Remove(key.name);
    return kube::ReconcileResult{};
  }
  NodeRequest claim = ParseNodeClaim(*object, options_.step.location);
  if (claim.deleted) {
    if (!claim.has_finalizer) return kube::ReconcileResult{};
    return Finalize(std::move(claim));
  }
  if (!claim.has_finalizer) {
    // By itself and first, so that no pool is ever made for a claim that can vanish.
    RETURN_IF_ERROR(
        kube::AddFinalizer(parts_.kube, kube::resources::kNodeClaims, *object, kFinalizer)
            .status());
    Count("karpenter_nodeclaims_created_total", "Claims taken on");
    return kube::ReconcileResult{};  // Its event brings us back.
  }
  return Launch(std::move(claim));
}

std::vector<Offering> NodeClaimReconciler::Plan(const NodeRequest& request) const {
  const auto view = parts_.snapshot.Current();
  const auto skus = parts_.facts.skus();
  const bool has_pool = view->Find(request.name) != nullptr;
  return PlanOfferings(request,
                       {.types = &parts_.types,
                        .skus = skus.get(),
                        .quota = &parts_.quota,
                        .marks = &parts_.marks,
                        .location = options_.step.location,
                        .zonal_first = options_.zonal_first,
                        .pool_limit_reached =
                            !has_pool && static_cast<int>(view->pools.size()) >= options_.pools_max,
                        .pools_max = options_.pools_max,
                        .now = parts_.clock.Monotonic()});
}

int NodeClaimReconciler::PoolsLeft() const {
  return options_.pools_max - static_cast<int>(parts_.snapshot.Current()->pools.size());
}

PoolMemory NodeClaimReconciler::Remember(const NodeRequest& claim) {
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = parts_.clock.Monotonic();
  PoolMemory& memory = memory_[Folded(claim.name)];
  memory.BeginClaim(claim.uid, claim.retry, now);
  if (memory.launched_at == absl::InfiniteDuration()) {
    if (const auto since = LaunchedSince(claim.object)) {
      memory.launched_at =
          now - ClampedAge(parts_.clock.Now(), *since, options_.step.registration_timeout);
    }
  }
  return memory;
}

absl::StatusOr<kube::ReconcileResult> NodeClaimReconciler::Launch(NodeRequest claim) {
  Pass pass{.claim = std::move(claim),
            .view = parts_.snapshot.Current(),
            .now = parts_.clock.Monotonic(),
            .wall = parts_.clock.Now()};
  // Before the memory is read: what a call stores is there once it no longer counts as busy.
  const bool busy = parts_.writes.Busy(pass.claim.name);
  pass.memory = Remember(pass.claim);
  pass.nodes = parts_.cluster.NodesOfPool(pass.claim.name);
  pass.offerings = Plan(pass.claim);
  pass.step = NextLaunchStep({.claim = pass.claim,
                              .view = *pass.view,
                              .memory = pass.memory,
                              .busy = busy,
                              .nodes = pass.nodes,
                              .offerings = pass.offerings,
                              .now = pass.now,
                              .wall = pass.wall,
                              .options = options_.step});
  const kube::Object* const node = pass.step.node;
  if (node != nullptr && node->being_deleted() && node->HasFinalizer(kFinalizer)) {
    // Somebody deleted the Node: its claim and its pool go too.
    base::LogInfo("node was deleted, so its claim is", {{"claim", pass.claim.name}});
    RETURN_IF_ERROR(parts_.kube.Delete(kube::resources::kNodeClaims, pass.claim.object.key(),
                                       {.uid = pass.claim.uid}));
    return kube::ReconcileResult{};
  }
  RETURN_IF_ERROR(Act(pass));
  RETURN_IF_ERROR(Register(pass));
  Tell(pass);
  RETURN_IF_ERROR(Report(pass));
  if (EndsWithItsFailure(pass)) {
    Count("karpenter_nodeclaims_disrupted_total", "Claims deleted by us",
          {{"reason", pass.step.launched->reason}});
    RETURN_IF_ERROR(parts_.kube.Delete(kube::resources::kNodeClaims, pass.claim.object.key(),
                                       {.uid = pass.claim.uid}));
  }
  kube::ReconcileResult result;
  if (pass.step.check_after < absl::InfiniteDuration()) {
    result.requeue_after = std::max(absl::Milliseconds(20), pass.step.check_after);
  }
  return result;
}

// A NodePool makes another claim in the place of one that cannot be served; KAITO does not.
bool NodeClaimReconciler::EndsWithItsFailure(const Pass& pass) const {
  if (!pass.claim.nodepool_owned || !pass.step.launched) return false;
  static constexpr std::string_view kReasons[] = {"QuotaExceeded",   "RegionalQuotaExceeded",
                                                  "SkuNotAvailable", "InsufficientCapacity",
                                                  "LaunchTimeout",   "RegistrationTimeout"};
  return pass.step.launched->status == "False" &&
         std::ranges::find(kReasons, pass.step.launched->reason) != std::end(kReasons);
}

absl::Status NodeClaimReconciler::Act(Pass& pass) {
  if (pass.step.removal) RETURN_IF_ERROR(StartRemoval(pass));
  switch (pass.step.kind) {
    case StepKind::kWait:
    case StepKind::kDropFinalizer:
      return absl::OkStatus();
    case StepKind::kLaunch:
      return StartLaunch(pass);
    case StepKind::kPutAgain: {
      Offering offering{.ref = pass.claim.offering.value_or(OfferingRef{pass.step.pool->vm_size})};
      offering.type = FindSize(parts_.types, offering.ref.size);
      pass.step.offering = offering;
      SubmitJob(pass, PoolJobKind::kPut);
      return absl::OkStatus();
    }
    case StepKind::kGet:
      SubmitJob(pass, PoolJobKind::kGet);
      return absl::OkStatus();
    case StepKind::kMachines:
      SubmitJob(pass, PoolJobKind::kMachines);
      return absl::OkStatus();
    case StepKind::kAbort:
      SubmitJob(pass, PoolJobKind::kAbort);
      return absl::OkStatus();
    case StepKind::kDelete:
      SubmitJob(pass, PoolJobKind::kDelete);
      return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status NodeClaimReconciler::StartLaunch(Pass& pass) {
  const Offering& offering = *pass.step.offering;
  boost::json::object labels;
  for (const auto& [key, value] : ClaimLabelsOf(offering, options_.step.location)) {
    labels[key] = value;
  }
  boost::json::object annotations;
  const auto annotate = [&](std::string_view key, boost::json::value value) {
    annotations[boost::json::string_view(key.data(), key.size())] = std::move(value);
  };
  annotate(kAnnotationOffering, boost::json::value(offering.ref.ToString()));
  annotate(kAnnotationAttempt, boost::json::value(absl::StrFormat("%d", pass.claim.attempt + 1)));
  annotate(kAnnotationNotBefore, boost::json::value(kube::FormatTime(pass.wall + kBetweenPuts)));
  if (!StopReason(pass.claim).empty()) annotate(kAnnotationLastError, nullptr);
  const boost::json::value patch = boost::json::object{
      {"metadata",
       boost::json::object{{"resourceVersion", std::string(pass.claim.object.resource_version())},
                           {"labels", std::move(labels)},
                           {"annotations", std::move(annotations)}}}};
  // Stored before the PUT: after a crash the next process knows that there may be a pool.
  ASSIGN_OR_RETURN(kube::Object stored,
                   parts_.kube.Patch(kube::resources::kNodeClaims, pass.claim.object.key(),
                                     kube::PatchType::kMerge, patch));
  if (stored.being_deleted()) return absl::AbortedError("launch: the claim is being deleted");
  pass.claim = ParseNodeClaim(stored, options_.step.location);
  parts_.quota.Reserve(pass.claim.uid, offering.need);
  Update(pass.claim.name, [&](PoolMemory& memory) {
    memory.removal.reset();
    memory.accepted_at = memory.launched_at = absl::InfiniteDuration();
    memory.machine_provider_id.clear();
  });
  parts_.events.Normal(pass.claim.object, "OfferingChosen", offering.ref.ToString());
  SubmitJob(pass, PoolJobKind::kPut);
  return absl::OkStatus();
}

// The pool of a living claim begins to go.
absl::Status NodeClaimReconciler::StartRemoval(Pass& pass) {
  const bool timeout = pass.step.launched->reason == "LaunchTimeout" || pass.step.bad_node;
  if (timeout && !MayTimeOut()) {
    // Something is wrong with more than this pool; do not take everything away at once.
    pass.step.kind = StepKind::kWait;
    pass.step.removal.reset();
    pass.step.check_after = absl::Seconds(15);
    return absl::OkStatus();
  }
  const Offering offering = [&] {
    Offering found = *pass.step.offering;
    found.type = FindSize(parts_.types, found.ref.size);
    if (found.type != nullptr) {
      found.need = {.family = found.type->quota_family,
                    .cores = found.type->vcpus,
                    .spot = found.ref.capacity_type == "spot"};
    }
    return found;
  }();
  const ArmFailure& failure = *pass.step.failure;
  parts_.marks.Add(offering.ref, offering.need, failure,
                   FailureMessage(failure, offering.ref, options_.step.location), pass.now);
  parts_.quota.Release(pass.claim.uid);
  Update(pass.claim.name, [&](PoolMemory& memory) {
    memory.removal = pass.step.removal;
    memory.launched_at = memory.accepted_at = absl::InfiniteDuration();
    memory.machine_provider_id.clear();
    memory.errors = {{failure.code, failure.message}};
    memory.tried.push_back({offering.ref, failure.error_class, pass.now});
    if (memory.tried.size() > kTriedMax) memory.tried.erase(memory.tried.begin());
  });
  pass.clear_instance = true;
  if (!pass.step.bad_node) return absl::OkStatus();
  const std::string mark = NextBadNodeMark(pass.claim, pass.step.registered->reason);
  const boost::json::value patch = boost::json::object{
      {"metadata", boost::json::object{
                       {"annotations",
                        boost::json::object{{boost::json::string_view(kAnnotationLastError.data(),
                                                                      kAnnotationLastError.size()),
                                             mark}}}}}};
  ASSIGN_OR_RETURN(const kube::Object stored,
                   parts_.kube.Patch(kube::resources::kNodeClaims, pass.claim.object.key(),
                                     kube::PatchType::kMerge, patch));
  pass.claim = ParseNodeClaim(stored, options_.step.location);
  return absl::OkStatus();
}

void NodeClaimReconciler::SubmitJob(const Pass& pass, PoolJobKind kind) {
  PoolJob job{.kind = kind,
              .pool = pass.claim.name,
              .claim_uid = pass.claim.uid,
              .ignore_disruption_budget = pass.step.ignore_disruption_budget};
  if (kind == PoolJobKind::kPut) {
    job.body = AgentPoolBody(PoolSpecOf(pass.claim, *pass.step.offering, options_.pool_defaults));
    absl::MutexLock lock(&mutex_);
    launching_[Folded(pass.claim.name)] = *pass.step.offering;
  }
  const bool conditional = kind == PoolJobKind::kDelete || pass.step.kind == StepKind::kPutAgain;
  if (conditional) job.etag = pass.step.etag;
  parts_.writes.Submit(std::move(job));
}

void NodeClaimReconciler::OnResult(const PoolResult& result) {
  const std::string key = Folded(result.job.pool);
  std::optional<Offering> offering;
  {
    absl::MutexLock lock(&mutex_);
    Learn(memory_[key], result, options_.step.location, absl::Uniform(random_, 0.0, 1.0));
    const auto launching = launching_.find(key);
    if (result.job.kind == PoolJobKind::kPut && launching != launching_.end()) {
      offering = launching->second;
    }
  }
  const ErrorClass error_class = result.failure.error_class;
  if (result.pool) {
    parts_.snapshot.Observe(result.job.pool, result.pool, result.ended);
  } else if (error_class == ErrorClass::kPoolGone || result.status == 204) {
    const bool gone = result.job.kind != PoolJobKind::kAbort;
    if (gone) parts_.snapshot.Observe(result.job.pool, std::nullopt, result.ended);
  } else if (result.failure.ok() && result.job.kind == PoolJobKind::kDelete) {
    ObserveState(result, "Deleting");
  } else if (result.failure.ok() && result.job.kind == PoolJobKind::kAbort) {
    ObserveState(result, "Canceling");
  }
  if (result.job.kind != PoolJobKind::kGet) parts_.snapshot.Hurry();
  if (result.job.kind != PoolJobKind::kPut || !offering) return;

  if (result.failure.ok()) {
    parts_.quota.Counted(result.job.claim_uid, result.ended);
    return;
  }
  if (error_class == ErrorClass::kUnknownOutcome) return;
  parts_.quota.Release(result.job.claim_uid);
  const std::string message = FailureMessage(result.failure, offering->ref, options_.step.location);
  const bool marked =
      parts_.marks.Add(offering->ref, offering->need, result.failure, message, result.ended);
  if (IsQuota(error_class)) parts_.facts.WantQuota();
  Update(key, [&](PoolMemory& memory) {
    memory.tried.push_back({offering->ref, error_class, result.ended});
    if (memory.tried.size() > kTriedMax) memory.tried.erase(memory.tried.begin());
  });
  const auto claim = parts_.cluster.Claim(key);
  if (claim && marked) {
    parts_.events.Warning(*claim, IsQuota(error_class) ? "QuotaExceeded" : "OfferingFailed",
                          message);
  }
}

// A write was accepted; the next LIST would say the same.
void NodeClaimReconciler::ObserveState(const PoolResult& result, const std::string& state) {
  const auto view = parts_.snapshot.Current();
  const AgentPool* const known = view->Find(result.job.pool);
  if (known == nullptr) return;
  AgentPool pool = *known;
  pool.state = state;
  parts_.snapshot.Observe(result.job.pool, std::move(pool), result.ended);
}

PoolMemory NodeClaimReconciler::Memory(const std::string& pool) const {
  absl::MutexLock lock(&mutex_);
  const auto memory = memory_.find(Folded(pool));
  return memory == memory_.end() ? PoolMemory{} : memory->second;
}

void NodeClaimReconciler::Update(const std::string& pool,
                                 const std::function<void(PoolMemory&)>& change) {
  absl::MutexLock lock(&mutex_);
  change(memory_[Folded(pool)]);
}

void NodeClaimReconciler::ForgetIdle() {
  const absl::Duration now = parts_.clock.Monotonic();
  absl::MutexLock lock(&mutex_);
  std::erase_if(memory_, [&](const auto& entry) {
    const PoolMemory& memory = entry.second;
    const bool quiet =
        memory.put_started + absl::Minutes(2) < now && memory.write_ended + absl::Minutes(2) < now;
    return quiet && !parts_.cluster.Claim(entry.first);
  });
  for (auto launching = launching_.begin(); launching != launching_.end();) {
    const bool known = memory_.contains(launching->first);
    launching = known ? std::next(launching) : launching_.erase(launching);
  }
}

bool NodeClaimReconciler::MayTimeOut() {
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = parts_.clock.Monotonic();
  std::erase_if(timeouts_, [&](absl::Duration at) { return at + absl::Minutes(1) <= now; });
  if (timeouts_.size() >= kTimeoutsPerMinute) return false;
  timeouts_.push_back(now);
  return true;
}

void NodeClaimReconciler::Count(const std::string& name, const std::string& help,
                                const metrics::Labels& labels) {
  if (parts_.registry != nullptr) parts_.registry->GetCounter(name, help, labels).Add();
}

}  // namespace gpu_provisioner
