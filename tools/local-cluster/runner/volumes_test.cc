#include "local-cluster/runner/volumes.h"

#include "gtest/gtest.h"

#include "common/base/files.h"
#include "local-cluster/runner/environment.h"

namespace local_cluster {
namespace {

class VolumesTest : public testing::Test {
 protected:
  VolumesTest() {
    sources_.pod_ip = "127.32.0.7";
    sources_.node_cpu = 2;
    sources_.config_map = [this](std::string_view name) -> absl::StatusOr<kube::Object> {
      if (name != "cm") return absl::NotFoundError("no such configmap");
      return kube::Object::Parse(config_map_);
    };
    sources_.secret = [](std::string_view name) -> absl::StatusOr<kube::Object> {
      if (name != "s") return absl::NotFoundError("no such secret");
      return kube::Object::Parse(
          R"({"kind": "Secret", "metadata": {"name": "s"}, "data": {"key": "aGVsbG8="}})");
    };
  }
  void TearDown() override { ASSERT_TRUE(base::RemoveAll(folder_).ok()); }

  VolumeOptions Options() {
    return {.pod_folder = folder_ + "/pod",
            .claim_folder = folder_ + "/claims",
            .host_paths = {{"/opt/models", folder_ + "/models"}}};
  }

  const std::string folder_ = testing::TempDir() + "volumes_" +
                              testing::UnitTest::GetInstance()->current_test_info()->name();
  std::string config_map_ =
      R"({"kind": "ConfigMap", "metadata": {"name": "cm"}, "data": {"a": "1", "b": "2"}})";
  PodSources sources_;
};

TEST_F(VolumesTest, ContentIsWrittenAndFollowsItsSource) {
  const kube::Object pod = *kube::Object::Parse(
      R"({"metadata": {"namespace": "d"}, "spec": {"volumes": [{"name": "v", "configMap": {"name": "cm"}}]}})");
  const auto folders = PrepareVolumes(pod, sources_, Options());
  ASSERT_TRUE(folders.ok()) << folders.status();
  EXPECT_EQ(*base::ReadFile(folders->at("v") + "/a"), "1");

  config_map_ =
      R"({"kind": "ConfigMap", "metadata": {"name": "cm"}, "data": {"a": "3", "c": "4"}})";
  ASSERT_TRUE(PrepareVolumes(pod, sources_, Options()).ok());
  EXPECT_EQ(*base::ReadFile(folders->at("v") + "/a"), "3");
  EXPECT_EQ(*base::ReadFile(folders->at("v") + "/c"), "4");
  EXPECT_FALSE(base::FileExists(folders->at("v") + "/b"));
}

TEST_F(VolumesTest, ProjectionsOfAllKindsShareAFolder) {
  const kube::Object pod = *kube::Object::Parse(R"({"metadata": {"namespace": "d", "name": "p"},
    "spec": {"volumes": [{"name": "v", "projected": {"sources": [
      {"configMap": {"name": "cm", "items": [{"key": "a", "path": "x/y"}]}},
      {"secret": {"name": "s"}},
      {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}]}})");
  const auto folders = PrepareVolumes(pod, sources_, Options());
  ASSERT_TRUE(folders.ok()) << folders.status();
  EXPECT_EQ(*base::ReadFile(folders->at("v") + "/x/y"), "1");
  EXPECT_EQ(*base::ReadFile(folders->at("v") + "/key"), "hello");
  EXPECT_EQ(*base::ReadFile(folders->at("v") + "/name"), "p");
}

TEST_F(VolumesTest, PathThatLeavesTheVolumeIsRefused) {
  const kube::Object pod = *kube::Object::Parse(R"({"metadata": {"namespace": "d"},
    "spec": {"volumes": [{"name": "v", "configMap": {"name": "cm", "items": [{"key": "a", "path": "../x"}]}}]}})");
  EXPECT_TRUE(absl::IsInvalidArgument(PrepareVolumes(pod, sources_, Options()).status()));
}

TEST_F(VolumesTest, HostPathsAreMappedAndClaimsAreKeptByName) {
  const kube::Object pod = *kube::Object::Parse(R"({"metadata": {"namespace": "d"},
    "spec": {"volumes": [{"name": "h", "hostPath": {"path": "/opt/models/x"}},
                         {"name": "c", "persistentVolumeClaim": {"claimName": "data"}}]}})");
  const auto folders = PrepareVolumes(pod, sources_, Options());
  ASSERT_TRUE(folders.ok()) << folders.status();
  EXPECT_EQ(folders->at("h"), folder_ + "/models/x");
  EXPECT_EQ(folders->at("c"), folder_ + "/claims/d/data");
}

TEST_F(VolumesTest, EnvironmentHasAllSourcesInOrder) {
  const kube::Object pod = *kube::Object::Parse(R"json({"metadata": {"namespace": "d", "name": "p",
      "labels": {"app": "x"}},
    "spec": {"containers": [{"name": "m", "resources": {"limits": {"memory": "1Gi"}},
      "envFrom": [{"configMapRef": {"name": "cm"}, "prefix": "CM_"},
                  {"secretRef": {"name": "absent", "optional": true}}],
      "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
              {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
              {"name": "URL", "value": "http://$(IP):80/$$(IP)"},
              {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
              {"name": "MB", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
              {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]}]}})json");
  const auto variables = BuildEnvironment(pod, "m", sources_);
  ASSERT_TRUE(variables.ok()) << variables.status();
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"CM_a", "1"},
      {"CM_b", "2"},
      {"IP", "127.32.0.7"},
      {"APP", "x"},
      {"URL", "http://127.32.0.7:80/$(IP)"},
      {"S", "hello"},
      {"MB", "1024"},
      {"CPU", "2"}};
  EXPECT_EQ(*variables, expected);
}

TEST_F(VolumesTest, MissingSourcesAreNamedAsKubeletDoes) {
  const kube::Object pod = *kube::Object::Parse(R"({"metadata": {"namespace": "d"},
    "spec": {"containers": [{"name": "m", "env": [{"name": "A",
      "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "a"}}}]}]}})");
  EXPECT_EQ(BuildEnvironment(pod, "m", sources_).status().message(),
            "configmap \"absent\" not found");
}

}  // namespace
}  // namespace local_cluster
