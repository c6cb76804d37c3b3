// API server, built-in loops and runner together, in this process, with real programs as pods.

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>

#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/kube/json.h"
#include "common/net/http_client.h"
#include "local-cluster/apiserver/api_server.h"
#include "local-cluster/controllers/built_in_loops.h"
#include "local-cluster/controllers/informer_set.h"
#include "local-cluster/controllers/objects.h"
#include "local-cluster/runner/node_heartbeat.h"
#include "local-cluster/runner/runner.h"
#include "local-cluster/runner/service_proxy.h"

namespace local_cluster {
namespace {

using namespace kube::resources;  // NOLINT(google-build-using-namespace): constants alone.

constexpr absl::Duration kPatience = absl::Seconds(30);

class ClusterTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(base::CreateDirectories(folder_ + "/run").ok());
    auto api = ApiServer::Open({});
    ASSERT_TRUE(api.ok()) << api.status();
    api_ = *std::move(api);
    client_ = std::make_unique<kube::Client>(api_->transport(), kube::ClientOptions{});
    informers_ = std::make_unique<InformerSet>(*client_);
    loops_ = std::make_unique<BuiltInLoops>(*client_, *informers_, "");
    RunnerOptions options;
    options.state_dir = folder_;
    options.keeper = base::ExecutableFolder() + "/pod-keeper";
    options.images.bin_dir = folder_;
    options.images.image_map = {{"busybox", "sh"}};
    options.path = "/usr/local/bin:/usr/bin:/bin";
    runner_ = std::make_unique<Runner>(*client_,
                                       RunnerInformers{.pods = informers_->Of(kPods),
                                                       .nodes = informers_->Of(kNodes),
                                                       .services = informers_->Of(kServices)},
                                       options);
    proxy_ = std::make_unique<ServiceProxy>(*client_, informers_->Of(kServices),
                                            informers_->Of(kEndpointSlices),
                                            folder_ + "/run/service-ports.json");
    for (const kube::Resource& resource :
         {kPods, kServices, kStatefulSets, kJobs, kNamespaces, kConfigMaps}) {
      informers_->Of(resource).AddHandler([this](const kube::InformerEvent&) {
        absl::MutexLock lock(&mutex_);
        ++changes_;
      });
    }
    ASSERT_TRUE(EnsureLocalNode(*client_, "local").ok());
    informers_->Start();
    ASSERT_TRUE(informers_->AwaitSync(kPatience));
    ASSERT_TRUE(runner_->Start().ok());
    api_->SetPodStreams(runner_.get());
    ASSERT_TRUE(proxy_->Start().ok());
    loops_->Start();
  }

  void TearDown() override {
    if (!api_) return;
    api_->SetPodStreams(nullptr);
    runner_->Stop(absl::ZeroDuration());
    loops_->Stop();
    informers_->Stop();
    proxy_.reset();
    runner_.reset();
    loops_.reset();
    informers_.reset();
    ASSERT_TRUE(base::RemoveAll(folder_).ok());
  }

  kube::Object Create(const kube::Resource& resource, const std::string& json) {
    auto object = kube::Object::Parse(json);
    EXPECT_TRUE(object.ok()) << object.status();
    auto created = client_->Create(resource, *object);
    EXPECT_TRUE(created.ok()) << created.status();
    return created.ok() ? *created : *object;
  }

  // Looks again after each change that the informers see, and at times: a proxy that begins to
  // listen changes no object.
  ::testing::AssertionResult Await(const std::function<bool()>& holds) {
    const absl::Time deadline = absl::Now() + kPatience;
    while (true) {
      int seen = 0;
      {
        absl::MutexLock lock(&mutex_);
        seen = changes_;
      }
      if (holds()) return ::testing::AssertionSuccess();
      absl::MutexLock lock(&mutex_);
      const auto changed = [&] { return changes_ != seen; };
      mutex_.AwaitWithTimeout(absl::Condition(&changed), absl::Milliseconds(50));
      if (absl::Now() > deadline) return ::testing::AssertionFailure() << "it does not come";
    }
  }

  size_t Count(const kube::Resource& resource, const std::string& namespace_name = "default") {
    const auto list = client_->List(resource, {.namespace_name = namespace_name});
    return list.ok() ? list->items.size() : 0;
  }

  bool IsGone(const kube::Resource& resource, const kube::ObjectKey& key) {
    return absl::IsNotFound(client_->Get(resource, key).status());
  }

  std::string StatusText(const kube::Resource& resource, const kube::ObjectKey& key,
                         std::string_view member) {
    const auto object = client_->Get(resource, key);
    if (!object.ok()) return "";
    const boost::json::value* value = object->Find({"status", member});
    return value == nullptr ? "" : boost::json::serialize(*value);
  }

  static std::string Set(std::string_view script, int replicas,
                         std::string_view probe = R"("exec": {"command": ["true"]})") {
    return absl::StrFormat(
        R"({"apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "x", "namespace": "default"},
            "spec": {"replicas": %d, "serviceName": "x", "podManagementPolicy": "Parallel",
              "selector": {"matchLabels": {"app": "x"}},
              "template": {"metadata": {"labels": {"app": "x"}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                  {"name": "m", "image": "busybox", "command": ["sh", "-c", "%s"],
                   "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                   "readinessProbe": {%s}}]}}}})",
        replicas, script, probe);
  }

  const std::string folder_ = testing::TempDir() + "cluster_" +
                              testing::UnitTest::GetInstance()->current_test_info()->name();
  absl::Mutex mutex_;
  int changes_ = 0;
  std::unique_ptr<ApiServer> api_;
  std::unique_ptr<kube::Client> client_;
  std::unique_ptr<InformerSet> informers_;
  std::unique_ptr<BuiltInLoops> loops_;
  std::unique_ptr<Runner> runner_;
  std::unique_ptr<ServiceProxy> proxy_;
};

TEST_F(ClusterTest, StatefulSetRunsAndGoesWithItsPods) {
  Create(kStatefulSets, Set("exec sleep 1000", 2));
  const kube::ObjectKey key{"default", "x"};
  EXPECT_TRUE(Await([&] { return StatusText(kStatefulSets, key, "readyReplicas") == "2"; }));
  ASSERT_TRUE(client_->Delete(kStatefulSets, key).ok());
  EXPECT_TRUE(Await([&] { return Count(kPods) == 0; }));
}

TEST_F(ClusterTest, OrphanedPodsStayAndLoseTheirOwner) {
  Create(kStatefulSets, Set("exec sleep 1000", 1));
  const kube::ObjectKey key{"default", "x"};
  EXPECT_TRUE(Await([&] { return StatusText(kStatefulSets, key, "readyReplicas") == "1"; }));
  ASSERT_TRUE(client_->Delete(kStatefulSets, key, {.propagation = "Orphan"}).ok());
  EXPECT_TRUE(Await([&] { return IsGone(kStatefulSets, key); }));
  const auto pod = client_->Get(kPods, {"default", "x-0"});
  ASSERT_TRUE(pod.ok()) << pod.status();
  EXPECT_TRUE(pod->owner_references().empty());
  EXPECT_FALSE(pod->being_deleted());
}

TEST_F(ClusterTest, ForegroundDeletionRemovesTheOwnerLast) {
  Create(kStatefulSets, Set("exec sleep 1000", 2));
  const kube::ObjectKey key{"default", "x"};
  EXPECT_TRUE(Await([&] { return StatusText(kStatefulSets, key, "readyReplicas") == "2"; }));
  ASSERT_TRUE(client_->Delete(kStatefulSets, key, {.propagation = "Foreground"}).ok());
  EXPECT_TRUE(Await([&] { return IsGone(kStatefulSets, key); }));
  EXPECT_EQ(Count(kPods), 0U);
}

TEST_F(ClusterTest, HundredDependentsOnTwoLevelsGoWithTheirOwner) {
  const auto config_map = [&](const std::string& name, const std::string& owner,
                              const std::string& uid) {
    return Create(kConfigMaps, absl::StrFormat(R"({"apiVersion": "v1", "kind": "ConfigMap",
                      "metadata": {"name": "%s", "namespace": "default", "ownerReferences":
                        [{"apiVersion": "v1", "kind": "ConfigMap", "name": "%s", "uid": "%s"}]}})",
                                               name, owner, uid));
  };
  const kube::Object root = Create(kConfigMaps, R"({"apiVersion": "v1", "kind": "ConfigMap",
      "metadata": {"name": "root", "namespace": "default"}})");
  for (int i = 0; i < 50; ++i) {
    const std::string name = absl::StrFormat("child-%d", i);
    const kube::Object child = config_map(name, "root", std::string(root.uid()));
    config_map("grand" + name, name, std::string(child.uid()));
  }
  ASSERT_TRUE(client_->Delete(kConfigMaps, root.key()).ok());
  EXPECT_TRUE(Await([&] { return Count(kConfigMaps) <= 1; })) << "kube-root-ca.crt stays";
}

TEST_F(ClusterTest, OwnerInAnotherNamespaceCountsAsAbsent) {
  Create(kNamespaces, R"({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})");
  const kube::Object owner = Create(kConfigMaps, R"({"apiVersion": "v1", "kind": "ConfigMap",
      "metadata": {"name": "owner", "namespace": "n"}})");
  Create(kConfigMaps, absl::StrFormat(R"({"apiVersion": "v1", "kind": "ConfigMap",
             "metadata": {"name": "child", "namespace": "default", "ownerReferences":
               [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "%s"}]}})",
                                      owner.uid()));
  EXPECT_TRUE(Await([&] { return IsGone(kConfigMaps, {"default", "child"}); }));
  EXPECT_FALSE(IsGone(kConfigMaps, owner.key()));
}

TEST_F(ClusterTest, JobRunsToItsEndAndItsPodsAreReleased) {
  Create(kJobs, R"({"apiVersion": "batch/v1", "kind": "Job",
      "metadata": {"name": "j", "namespace": "default"},
      "spec": {"completions": 2, "template": {"spec": {"restartPolicy": "Never",
        "containers": [{"name": "m", "image": "busybox", "command": ["true"]}]}}}})");
  EXPECT_TRUE(Await([&] { return StatusText(kJobs, {"default", "j"}, "succeeded") == "2"; }));
  EXPECT_TRUE(Await([&] {
    const auto pods = client_->List(kPods, {.namespace_name = "default"});
    return pods.ok() && std::ranges::all_of(pods->items, [](const kube::Object& pod) {
             return pod.finalizers().empty();
           });
  }));
}

TEST_F(ClusterTest, NamespaceGoesWithEverythingInIt) {
  Create(kNamespaces, R"({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})");
  Create(kPods, R"({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"},
      "spec": {"terminationGracePeriodSeconds": 1,
               "containers": [{"name": "m", "image": "busybox", "command": ["sleep", "1000"]}]}})");
  EXPECT_TRUE(Await([&] { return StatusText(kPods, {"n", "p"}, "phase") == "\"Running\""; }));
  ASSERT_TRUE(client_->Delete(kNamespaces, {"", "n"}).ok());
  EXPECT_TRUE(Await([&] { return IsGone(kNamespaces, {"", "n"}); }));
}

TEST_F(ClusterTest, PodsOfANodeThatIsGoneAreDeleted) {
  Create(kPods, R"({"apiVersion": "v1", "kind": "Pod",
      "metadata": {"name": "p", "namespace": "default"},
      "spec": {"containers": [{"name": "m", "image": "busybox", "command": ["sleep", "1000"]}]}})");
  EXPECT_TRUE(Await([&] { return StatusText(kPods, {"default", "p"}, "phase") == "\"Running\""; }));
  ASSERT_TRUE(client_->Delete(kNodes, {"", "local"}).ok());
  EXPECT_TRUE(Await([&] { return IsGone(kPods, {"default", "p"}); }));
}

TEST_F(ClusterTest, ServiceAnswersOnItsAddressWithWhatAPodSays) {
  if (system("python3 -c 'import http.server' 2>/dev/null") != 0) {
    GTEST_SKIP() << "python3 is not installed: no program here answers HTTP";
  }
  Create(kServices, R"({"apiVersion": "v1", "kind": "Service",
      "metadata": {"name": "x", "namespace": "default"},
      "spec": {"selector": {"app": "x"}, "ports": [{"port": 8080}]}})");
  Create(kStatefulSets, Set("exec python3 -m http.server --bind $IP 8080", 1,
                            R"("httpGet": {"port": 8080}, "periodSeconds": 1)"));
  std::string url;
  EXPECT_TRUE(Await([&] {
    const auto service = client_->Get(kServices, {"default", "x"});
    const auto ports = kube::ParseJson(service->annotation(kPortsAnnotation));
    if (!ports.ok()) return false;
    url = absl::StrFormat("http://%s", kube::StringAt(*ports, {"8080"}));
    net::HttpClient http({.base_url = url});
    const auto answer = http.Send({.target = "/"}, absl::Seconds(5));
    return answer.ok() && answer->status == 200;
  }));
  EXPECT_TRUE(url.starts_with("http://127.")) << url;
}

}  // namespace
}  // namespace local_cluster
