#include "testing/provisioner/rig.h"

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/base/check.h"
#include "common/base/files.h"
#include "common/kube/conditions.h"
#include "common/kube/json.h"
#include "gpu-provisioner/nodes.h"

namespace provisioner_testing {
namespace {

namespace gp = gpu_provisioner;

constexpr char kSecret[] = "rig-secret";

class EmulatorSender final : public gp::HttpSender {
 public:
  explicit EmulatorSender(local_cluster::azure::ArmEmulator& arm) : arm_(arm) {}
  absl::StatusOr<net::Response> Send(const net::Request& request, absl::Duration) override {
    return arm_.Handle(request);
  }

 private:
  local_cluster::azure::ArmEmulator& arm_;
};

boost::json::value Yaml(const std::string& text) {
  auto documents = kube::ParseYaml(text);
  CHECK_OK(documents.status());
  return documents->front();
}

gp::ProvisionerOptions Options(const std::string& url) {
  gp::ProvisionerOptions options;
  options.cluster = {.subscription_id = "00000000-0000-0000-0000-000000000001",
                     .resource_group = "rg",
                     .cluster_name = "aks",
                     .location = "eastus",
                     .arm_url = url};
  options.reconciler.step.location = "eastus";
  options.sleep = [](absl::Duration) {};
  return options;
}

}  // namespace

Rig::Rig() {
  std::string pattern = testing::TempDir() + "/rigXXXXXX";
  CHECK(mkdtemp(pattern.data()) != nullptr);
  folder_ = pattern;
  CHECK_OK(base::WriteFileAtomic(folder_ + "/secret", kSecret));

  api_ = std::make_unique<ObjectApi>(clock_);
  kube_ = std::make_unique<kube::Client>(*api_, kube::ClientOptions{});

  std::vector<catalog::Problem> problems;
  const std::string types_dir = std::string(KAITO_SOURCE_DIR) + "/deploy/gpu-types";
  types_ = catalog::GpuTypes::Load(types_dir, problems);
  local_cluster::azure::ArmEmulatorOptions options;
  options.client_secret = kSecret;
  options.resource_group = "rg";
  options.cluster_name = "aks";
  options.location = "eastus";
  options.gpu_types_dir = types_dir;
  options.create_time = absl::Seconds(120);
  options.join_time = absl::Seconds(110);
  options.device_time = absl::Seconds(5);
  options.delete_time = absl::Seconds(60);
  auto arm = local_cluster::azure::ArmEmulator::Open(options, *kube_, clock_);
  CHECK_OK(arm.status());
  arm_ = *std::move(arm);

  const gp::HttpSenderFactory senders =
      [this](const std::string&) -> absl::StatusOr<std::unique_ptr<gp::HttpSender>> {
    return std::make_unique<EmulatorSender>(*arm_);
  };
  auto source = gp::MakeTokenSource({.auth = "service-principal",
                                     .tenant_id = options.tenant_id,
                                     .client_id = options.client_id,
                                     .client_secret_file = folder_ + "/secret"},
                                    *gp::Cloud::Named("custom", arm_->url()), senders);
  CHECK_OK(source.status());
  tokens_ = std::make_unique<gp::TokenCache>(*std::move(source), clock_);
  sender_ = std::make_unique<EmulatorSender>(*arm_);
  view_ = std::make_unique<gp::ListingView>(*kube_);
  Restart();
}

Rig::~Rig() {
  provisioner_.reset();
  arm_.reset();
  (void)base::RemoveAll(folder_);
}

void Rig::Restart() {
  provisioner_.reset();
  pending_.clear();
  due_.clear();
  seen_.clear();
  provisioner_ = std::make_unique<gp::Provisioner>(
      Options(arm_->url()), *sender_, *tokens_, *kube_, *view_, types_, nullptr, nullptr, clock_,
      [this](const std::string& claim) { pending_.insert(claim); });
}

void Rig::CreateClaim(const std::string& name, const std::string& sizes,
                      const std::string& extra_yaml) {
  std::string values = sizes;
  absl::StrReplaceAll({{"A", kSizeA}, {"B", kSizeB}}, &values);
  boost::json::value claim = Yaml(absl::StrFormat(R"(
apiVersion: karpenter.sh/v1
kind: NodeClaim
metadata:
  name: %s
  labels: {karpenter.sh/nodepool: kaito, kaito.sh/workspace: w, kaito.sh/workspacenamespace: default}
spec:
  nodeClassRef: {group: kaito.sh, kind: KaitoNodeClass, name: default}
  requirements:
  - {key: node.kubernetes.io/instance-type, operator: In, values: [%s]}
  - {key: kubernetes.io/os, operator: In, values: [linux]}
  resources: {requests: {storage: 120Gi}}
  taints: [{key: sku, value: gpu, effect: NoSchedule}]
)",
                                                  name, values));
  if (!extra_yaml.empty()) kube::MergePatch(claim, Yaml(extra_yaml));
  CHECK_OK(kube_->Create(kube::resources::kNodeClaims, kube::Object(claim)).status());
  Settle();
}

void Rig::DeleteClaim(const std::string& name) {
  CHECK_OK(kube_->Delete(kube::resources::kNodeClaims, {"", name}));
  Settle();
}

// True when a claim or Node changed since the last look; queues what it concerns.
bool Rig::Notice() {
  bool changed = false;
  std::map<std::string, std::string> now;
  const auto look = [&](const kube::Object& object, const std::string& key) {
    const std::string id = std::string(object.kind()) + "/" + std::string(object.name());
    now[id] = std::string(object.resource_version());
    if (seen_[id] == now[id]) return;
    changed = true;
    pending_.insert(key);
  };
  for (const kube::Object& claim : view_->Claims()) {
    look(claim, std::string(claim.name()));
    const auto launched = kube::FindCondition(claim, "Launched");
    if (!launched) continue;
    const std::string text = launched->status + "/" + launched->reason;
    auto& history = launched_history_[std::string(claim.name())];
    if (history.empty() || history.back() != text) history.push_back(text);
  }
  for (const kube::Object& node : view_->Nodes()) look(node, gp::PoolOfNode(node));
  for (const auto& [id, version] : seen_) {
    if (now.contains(id)) continue;
    changed = true;
    if (absl::StartsWith(id, "NodeClaim/")) pending_.insert(id.substr(10));
  }
  seen_ = std::move(now);
  return changed;
}

void Rig::ReconcileDue() {
  for (auto entry = due_.begin(); entry != due_.end();) {
    if (entry->second <= clock_.Monotonic()) {
      pending_.insert(entry->first);
      entry = due_.erase(entry);
    } else {
      ++entry;
    }
  }
  for (const std::string& name : std::exchange(pending_, {})) {
    const auto result = provisioner_->reconciler().Reconcile({"", name});
    if (!result.ok()) {
      due_[name] = clock_.Monotonic() + absl::Seconds(1);
    } else if (result->requeue_after > absl::ZeroDuration()) {
      due_[name] = clock_.Monotonic() + result->requeue_after;
    }
  }
}

void Rig::Settle() {
  for (int i = 0; i < 100; ++i) {
    arm_->RunDue();
    provisioner_->Tick();
    const bool changed = Notice();
    const bool idle = !changed && pending_.empty();
    ReconcileDue();
    if (idle && pending_.empty()) return;
  }
}

void Rig::Run(absl::Duration time) {
  const absl::Duration end = clock_.Monotonic() + time;
  while (clock_.Monotonic() < end) {
    clock_.Advance(absl::Seconds(1));
    Settle();
  }
}

bool Rig::RunUntilReady(const std::string& name, absl::Duration limit) {
  const absl::Duration end = clock_.Monotonic() + limit;
  while (clock_.Monotonic() < end) {
    if (Condition(name, "Ready") == "True/Ready") return true;
    Run(absl::Seconds(1));
  }
  return Condition(name, "Ready") == "True/Ready";
}

void Rig::Control(const std::string& path, const std::string& yaml) {
  net::Request request{
      .method = "POST", .target = "/_emulator/" + path, .body = boost::json::serialize(Yaml(yaml))};
  const auto response = arm_->Handle(request);
  CHECK_OK(response.status());
  EXPECT_EQ(response->status / 100, 2) << response->body;
  Settle();
}

boost::json::value Rig::Get(const std::string& path) {
  const auto response = arm_->Handle({.target = path});
  CHECK_OK(response.status());
  return boost::json::parse(response->body);
}

bool Rig::HasClaim(const std::string& name) {
  return kube_->Get(kube::resources::kNodeClaims, {"", name}).ok();
}

kube::Object Rig::Claim(const std::string& name) {
  auto claim = kube_->Get(kube::resources::kNodeClaims, {"", name});
  return claim.ok() ? *std::move(claim) : kube::Object();
}

std::string Rig::Condition(const std::string& claim, const std::string& type) {
  const auto condition = kube::FindCondition(Claim(claim), type);
  return condition ? condition->status + "/" + condition->reason : "";
}

std::string Rig::Message(const std::string& claim, const std::string& type) {
  const auto condition = kube::FindCondition(Claim(claim), type);
  return condition ? condition->message : "";
}

std::vector<kube::Object> Rig::Nodes() {
  std::vector<kube::Object> nodes = view_->Nodes();
  std::erase_if(nodes, [](const kube::Object& node) { return gp::PoolOfNode(node).empty(); });
  return nodes;
}

bool Rig::PoolExists(const std::string& name) {
  for (const auto& life : History()) {
    if (kube::StringAt(life, {"name"}) == name && kube::StringAt(life, {"until"}).empty()) {
      return true;
    }
  }
  return false;
}

std::vector<boost::json::object> Rig::Requests(const std::string& method, const std::string& pool) {
  std::vector<boost::json::object> requests;
  const boost::json::value log = Get("/_emulator/requests");
  for (const auto& entry : log.as_array()) {
    const std::string path(kube::StringAt(entry, {"path"}));
    const bool of_pool = pool.empty() ? absl::EndsWith(path, "/agentPools")
                                      : absl::EndsWith(path, "/agentPools/" + pool);
    if (of_pool && kube::StringAt(entry, {"method"}) == method) {
      requests.push_back(entry.as_object());
    }
  }
  return requests;
}

int Rig::Count(const std::string& method, const std::string& pool) {
  return static_cast<int>(Requests(method, pool).size());
}

boost::json::array Rig::History() { return Get("/_emulator/pools?history=true").as_array(); }

void Rig::CheckInvariants() {
  std::map<std::string, std::vector<std::pair<std::string, std::string>>> lives;
  for (const auto& life : History()) {
    const std::string uid(kube::StringAt(life, {"uid"}));
    if (uid.empty()) continue;
    lives[uid].emplace_back(kube::StringAt(life, {"from"}),
                            kube::StringAt(life, {"until"}, "9999"));
  }
  for (const auto& [uid, spans] : lives) {
    for (size_t i = 1; i < spans.size(); ++i) {
      EXPECT_GE(spans[i].first, spans[i - 1].second) << "two live pools of claim " << uid;
    }
  }
  std::map<std::string, absl::Time> last_put;
  const boost::json::value log = Get("/_emulator/requests");
  for (const auto& entry : log.as_array()) {
    if (kube::StringAt(entry, {"method"}) != "PUT" || kube::IntAt(entry, {"status"}) == 401)
      continue;
    const std::string path(kube::StringAt(entry, {"path"}));
    const auto time = kube::ParseTime(kube::StringAt(entry, {"time"}));
    ASSERT_TRUE(time.has_value());
    if (last_put.contains(path)) {
      EXPECT_GE(*time - last_put[path], absl::Seconds(60)) << "PUTs too close: " << path;
    }
    last_put[path] = *time;
  }
}

}  // namespace provisioner_testing
