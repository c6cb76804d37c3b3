#include "workspace-controller/desired_objects.h"

#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "workspace-controller/testing.h"

namespace workspace_controller {
namespace {

namespace json = boost::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

struct Made {
  kube::Object set;
  const json::value& container(size_t index) const {
    return set.Find({"spec", "template", "spec", "containers"})->get_array().at(index);
  }
  std::string volume(std::string_view name) const {
    for (const json::value& volume :
         set.Find({"spec", "template", "spec", "volumes"})->get_array()) {
      if (kube::StringAt(volume, {"name"}) == name) return json::serialize(volume);
    }
    return "";
  }
};

Made MakeSet(std::string_view patch = "{}", const ObjectOptions& options = {},
             std::string_view preset = "phi-4-mini-instruct") {
  const Workspace workspace = Read(Patched(WorkspaceObject(preset), patch));
  Observed observed = ObservedFor(workspace);
  observed.nodes.push_back(ReadNode(NodeObject("node-a")));
  const Decision decision = Decide(workspace, observed, ShippedPresets(), ShippedTypes(), {});
  EXPECT_FALSE(decision.refused()) << decision.message;
  return {StatefulSetFor(workspace, observed, decision, options)};
}

TEST(NodeClaimForTest, CarriesLabelsAnnotationsTaintAndRequirements) {
  const Workspace workspace =
      Read(Patched(WorkspaceObject(),
                   R"({"metadata":{"annotations":{"kaito.sh/node-image-family":"azurelinux"}}})"));
  const kube::Object claim =
      NodeClaimFor(workspace, ClaimName(workspace, 0), ObservedFor(workspace), {});
  EXPECT_EQ(claim.label("karpenter.sh/nodepool"), "kaito");
  EXPECT_EQ(claim.label("kaito.sh/workspace"), "ws");
  EXPECT_EQ(claim.label("kaito.sh/workspacenamespace"), "ns");
  EXPECT_EQ(claim.label("apps"), "x");
  EXPECT_EQ(claim.annotation("karpenter.sh/do-not-disrupt"), "true");
  EXPECT_EQ(claim.annotation("kaito.sh/node-image-family"), "azurelinux");
  EXPECT_EQ(claim.annotation("kaito.sh/workspace-uid"), "uid-1");
  EXPECT_EQ(claim.StringAt({"spec", "nodeClassRef", "kind"}), "KaitoNodeClass");
  EXPECT_EQ(claim.StringAt({"spec", "resources", "requests", "storage"}), "88Gi");
  EXPECT_EQ(claim.StringAt({"spec", "expireAfter"}), "Never");
  EXPECT_EQ(json::serialize(*claim.Find({"spec", "taints"})),
            R"([{"key":"sku","value":"gpu","effect":"NoSchedule"}])");
  const std::string requirements = json::serialize(*claim.Find({"spec", "requirements"}));
  for (
      const char* expected :
      {R"({"key":"karpenter.sh/nodepool","operator":"In","values":["kaito"]})",
       R"({"key":"node.kubernetes.io/instance-type","operator":"In","values":["Standard_NC24ads_A100_v4"]})",
       R"({"key":"kubernetes.io/os","operator":"In","values":["linux"]})",
       R"({"key":"karpenter.azure.com/sku-name","operator":"In","values":["Standard_NC24ads_A100_v4"]})"}) {
    EXPECT_THAT(requirements, HasSubstr(expected));
  }
}

TEST(ServiceForTest, PortsAreThoseOfTheSeedAndALoadBalancerHasOnlyHttp) {
  const kube::Object service = ServiceFor(Read(WorkspaceObject()));
  EXPECT_EQ(json::serialize(*service.Find({"spec", "ports"})),
            R"([{"name":"http","port":80,"protocol":"TCP","targetPort":5000},)"
            R"({"name":"torch","port":29500,"protocol":"TCP","targetPort":8003}])");
  EXPECT_EQ(service.StringAt({"spec", "selector", "statefulset.kubernetes.io/pod-name"}), "ws-0");
  EXPECT_EQ(service.StringAt({"spec", "type"}), "ClusterIP");
  ASSERT_EQ(service.owner_references().size(), 1);
  EXPECT_EQ(service.owner_references()[0].uid, "uid-1");
  EXPECT_TRUE(service.owner_references()[0].controller);

  const kube::Object balanced = ServiceFor(Read(
      Patched(WorkspaceObject(), R"({"metadata":{"annotations":{"kaito.sh/enablelb":"True"}}})")));
  EXPECT_EQ(balanced.StringAt({"spec", "type"}), "LoadBalancer");
  EXPECT_EQ(balanced.Find({"spec", "ports"})->get_array().size(), 1);
}

TEST(ServiceForTest, HeadlessServiceShowsPodsBeforeTheyAreReady) {
  const kube::Object service = HeadlessServiceFor(Read(WorkspaceObject()));
  EXPECT_EQ(service.name(), "ws-headless");
  EXPECT_EQ(service.StringAt({"spec", "clusterIP"}), "None");
  EXPECT_TRUE(service.BoolAt({"spec", "publishNotReadyAddresses"}));
}

TEST(StatefulSetForTest, PodIsModelServerAndGatewayWithTheirFlags) {
  const Made made = MakeSet();
  EXPECT_EQ(kube::StringAt(made.container(0), {"name"}), "ws");
  EXPECT_EQ(kube::StringAt(made.container(1), {"name"}), "gateway");
  EXPECT_THAT(kube::StringsAt(made.container(0), {"args"}),
              ElementsAre("--model=/workspace/weights", "--served_model_name=phi-4-mini-instruct",
                          "--bind_address=0.0.0.0", "--grpc_port=8001", "--ops_port=8002"));
  EXPECT_THAT(kube::StringsAt(made.container(1), {"args"}),
              ElementsAre("--model_server=127.0.0.1:8001", "--bind_address=0.0.0.0", "--port=5000",
                          "--allow_anonymous"));
  EXPECT_EQ(kube::StringAt(made.container(0), {"resources", "limits", "nvidia.com/gpu"}), "1");
  EXPECT_EQ(made.set.IntAt({"spec", "replicas"}), 1);
  EXPECT_EQ(made.set.StringAt({"spec", "podManagementPolicy"}), "Parallel");
}

TEST(StatefulSetForTest, BindsToThePodsAddressAndProbesQuicklyWhereAskedTo) {
  const Made made = MakeSet("{}", {.bind_pod_ip = true, .probe_period = absl::Seconds(1)});
  EXPECT_THAT(kube::StringsAt(made.container(0), {"args"}), Contains("--bind_address=$(POD_IP)"));
  for (const size_t container : {0, 1}) {
    EXPECT_THAT(kube::StringsAt(made.container(container), {"args"}),
                Contains("--drain_grace=500ms"));
  }
  EXPECT_THAT(kube::StringsAt(made.container(1), {"args"}),
              Contains("--model_server=$(POD_IP):8001"));
  EXPECT_EQ(json::serialize(*kube::FindPath(made.container(0), {"env"})),
            R"([{"name":"POD_IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}}])");
  EXPECT_EQ(kube::IntAt(made.container(0), {"startupProbe", "periodSeconds"}), 1);
  EXPECT_EQ(kube::IntAt(made.container(0), {"startupProbe", "failureThreshold"}), 1800);
  EXPECT_EQ(kube::IntAt(made.container(0), {"readinessProbe", "httpGet", "port"}), 8002);
  EXPECT_EQ(kube::StringAt(made.container(1), {"readinessProbe", "httpGet", "path"}), "/livez");
}

TEST(StatefulSetForTest, LocalWeightsAreAReadOnlyFolderOfTheNode) {
  const Made made = MakeSet(R"({"metadata":{"annotations":{"kaito.sh/use-local-weights":"true"}}})",
                            {}, "smollm2-135m");
  EXPECT_THAT(made.volume("model-weights-volume"),
              HasSubstr("/opt/kaito/models/smollm2-135m-instruct"));
  EXPECT_THAT(json::serialize(made.container(0)),
              HasSubstr(R"("mountPath":"/workspace/weights","readOnly":true)"));
  const Made other = MakeSet(
      R"({"metadata":{"annotations":{"kaito.sh/use-local-weights":"true"}}})", {}, "Org/Model");
  EXPECT_THAT(other.volume("model-weights-volume"), HasSubstr("/opt/kaito/models/org-model\""));
  EXPECT_THAT(MakeSet().volume("model-weights-volume"), HasSubstr("emptyDir"));
}

TEST(StatefulSetForTest, PodsArePinnedToTheirNodesAndTolerateThem) {
  const Made made = MakeSet();
  const std::string affinity =
      json::serialize(*made.set.Find({"spec", "template", "spec", "affinity"}));
  EXPECT_THAT(affinity,
              HasSubstr(R"({"key":"kubernetes.io/hostname","operator":"In","values":["node-a"]})"));
  EXPECT_THAT(affinity, HasSubstr(R"({"key":"apps","operator":"In","values":["x"]})"));
  EXPECT_THAT(affinity, Not(HasSubstr("podAntiAffinity")));
  EXPECT_EQ(made.set.Find({"spec", "template", "spec", "tolerations"})->get_array().size(), 2);
}

TEST(StatefulSetForTest, SameInputGivesTheSameBytes) {
  const std::string first = MakeSet().set.ToJson();
  for (int i = 0; i < 100; ++i) ASSERT_EQ(MakeSet().set.ToJson(), first);
}

TEST(StatefulSetForTest, KeysOfTheUserCloseTheGateway) {
  const Made made = MakeSet(R"({"metadata":{"annotations":{"kaito.sh/api-keys-secret":"keys"}}})");
  EXPECT_THAT(kube::StringsAt(made.container(1), {"args"}), Not(Contains("--allow_anonymous")));
  EXPECT_THAT(made.volume("api-keys"), HasSubstr(R"("secretName":"keys")"));
}

TEST(StatefulSetForTest, TemplateOfTheUserIsKeptBesideTheAffinity) {
  const Made made = MakeSet(R"({"inference":{"preset":null,"template":{
      "metadata":{"labels":{"a":"b"}},
      "spec":{"containers":[{"name":"c","image":"i"}],"tolerations":[{"key":"t"}]}}}})");
  EXPECT_EQ(kube::StringAt(made.container(0), {"image"}), "i");
  EXPECT_EQ(made.set.StringAt({"spec", "template", "metadata", "labels", "a"}), "b");
  EXPECT_EQ(made.set.StringAt({"spec", "template", "metadata", "labels", "kaito.sh/workspace"}),
            "ws");
  EXPECT_EQ(made.set.Find({"spec", "template", "spec", "tolerations"})->get_array().size(), 3);
}

TEST(StatefulSetForTest, ContentOfTheConfigurationReplacesPods) {
  const Workspace workspace = Read(WorkspaceObject());
  Observed observed = ObservedFor(workspace);
  observed.nodes.push_back(ReadNode(NodeObject("node-a")));
  const Decision decision = Decide(workspace, observed, ShippedPresets(), ShippedTypes(), {});
  const kube::Object before = StatefulSetFor(workspace, observed, decision, {});
  observed.config_text = "vllm:\n  max-model-len: 1024\n";
  observed.config.max_model_len = 1024;
  const kube::Object after = StatefulSetFor(workspace, observed, decision, {});
  EXPECT_NE(*before.Find({"spec", "template", "metadata", "annotations"}),
            *after.Find({"spec", "template", "metadata", "annotations"}));
  EXPECT_THAT(after.ToJson(), HasSubstr("--max_model_len=1024"));
}

TEST(StartupLimitTest, GrowsWithTheWeightsWithinItsBounds) {
  constexpr int64_t kGiB = int64_t{1} << 30;
  EXPECT_EQ(StartupLimit(0), absl::Minutes(30));
  EXPECT_EQ(StartupLimit(kGiB), absl::Minutes(30));
  EXPECT_EQ(StartupLimit(150 * kGiB), absl::Minutes(60));
  EXPECT_EQ(StartupLimit(600 * kGiB), absl::Minutes(180));
}

}  // namespace
}  // namespace workspace_controller
