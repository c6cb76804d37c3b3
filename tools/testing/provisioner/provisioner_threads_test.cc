// The same parts with their threads, over real sockets, as fast as local mode is meant to be.

#include <functional>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/kube/conditions.h"
#include "common/kube/json.h"
#include "gpu-provisioner/provisioner.h"
#include "local-cluster/azure/arm_emulator.h"
#include "testing/provisioner/object_api.h"

namespace provisioner_testing {
namespace {

namespace gp = gpu_provisioner;

constexpr char kClaim[] = R"(
apiVersion: karpenter.sh/v1
kind: NodeClaim
metadata: {name: ws1, labels: {kaito.sh/workspace: w}}
spec:
  nodeClassRef: {group: kaito.sh, kind: KaitoNodeClass, name: default}
  requirements:
  - {key: node.kubernetes.io/instance-type, operator: In, values: [Standard_NC24ads_A100_v4]}
  resources: {requests: {storage: 120Gi}}
)";

TEST(ProvisionerThreadsTest, AClaimIsReadyWithinASecondAndAHalfOnThisMachine) {
  const base::Clock& clock = base::RealClock();
  ObjectApi api(clock);
  kube::Client client(api, {});
  const std::string types_dir = std::string(KAITO_SOURCE_DIR) + "/deploy/gpu-types";
  const std::string secret_file = testing::TempDir() + "/provisioner_threads_secret";
  ASSERT_TRUE(base::WriteFileAtomic(secret_file, "secret").ok());
  local_cluster::azure::ArmEmulatorOptions azure;
  azure.client_secret = "secret";
  azure.gpu_types_dir = types_dir;
  const auto arm = local_cluster::azure::ArmEmulator::Start(azure, client);
  ASSERT_TRUE(arm.ok()) << arm.status();

  const gp::HttpSenderFactory senders = gp::MakeHttpSenderFactory("");
  const auto cloud = gp::Cloud::Named("custom", (*arm)->url());
  auto source = gp::MakeTokenSource({.auth = "service-principal",
                                     .tenant_id = azure.tenant_id,
                                     .client_id = azure.client_id,
                                     .client_secret_file = secret_file},
                                    *cloud, senders);
  ASSERT_TRUE(source.ok()) << source.status();
  gp::TokenCache tokens(*std::move(source), clock);
  const auto sender = senders(cloud->arm());
  std::vector<catalog::Problem> problems;
  const catalog::GpuTypes types = catalog::GpuTypes::Load(types_dir, problems);
  const gp::ListingView view(client);
  gp::ProvisionerOptions options;
  options.cluster = {.subscription_id = azure.subscription_id,
                     .resource_group = azure.resource_group,
                     .cluster_name = azure.cluster_name,
                     .location = azure.location,
                     .arm_url = cloud->arm()};
  options.reconciler.step.location = azure.location;
  options.snapshot.interval_fast = absl::Milliseconds(50);
  gp::Provisioner provisioner(options, **sender, tokens, client, view, types, nullptr, nullptr,
                              clock, [](const std::string&) {});
  provisioner.Start();

  ASSERT_TRUE(client
                  .Create(kube::resources::kNodeClaims,
                          kube::Object(kube::ParseYaml(kClaim).value().front()))
                  .ok());
  const absl::Time start = absl::Now();
  const auto run_until = [&](const std::function<bool()>& done) {
    while (!done() && absl::Now() - start < absl::Seconds(10)) {
      (void)provisioner.reconciler().Reconcile({"", "ws1"});  // In the place of the events.
      absl::SleepFor(absl::Milliseconds(5));
    }
    return done();
  };
  EXPECT_TRUE(run_until([&] {
    const auto claim = view.Claim("ws1");
    return claim && kube::IsConditionTrue(*claim, "Ready");
  }));
  EXPECT_LT(absl::Now() - start, absl::Milliseconds(1500));
  ASSERT_TRUE(client.Delete(kube::resources::kNodeClaims, {"", "ws1"}).ok());
  EXPECT_TRUE(run_until([&] { return !view.Claim("ws1"); }));
  EXPECT_TRUE(view.Nodes().empty());
  provisioner.Stop();
}

}  // namespace
}  // namespace provisioner_testing
