// From `kubectl apply` of the example Workspace to an answer, and back to nothing.

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "integration-tests/support/cluster.h"

namespace integration {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class InferenceTest : public testing::Test {
 protected:
  void SetUp() override {
    if (SampleModel().empty()) {
      GTEST_SKIP() << "SKIPPED: the sample model is not there: run tools/setup --model";
    }
  }

  // Applies the example and waits until it serves.
  void Serve() {
    ASSERT_NO_FATAL_FAILURE(cluster_.Up());
    ASSERT_TRUE(cluster_.Apply(SourcePath(kExample)).ok());
    ASSERT_TRUE(
        cluster_.AwaitCondition(kWorkspace, "WorkspaceSucceeded", "True", absl::Seconds(60)))
        << cluster_.ConditionText(kWorkspace, "WorkspaceSucceeded") << "\n"
        << cluster_.ConditionText(kWorkspace, "ResourceReady") << "\n"
        << cluster_.ConditionText(kWorkspace, "InferenceReady");
    url_ = cluster_.ServiceUrl(kWorkspace);
    ASSERT_THAT(url_, testing::Not(IsEmpty()));
  }

  // Nodes but the one that is this machine itself.
  int BoughtNodes() {
    int count = 0;
    for (const kube::Object& node : cluster_.List(kube::resources::kNodes)) {
      if (node.StringAt({"spec", "providerID"}).rfind("azure://", 0) == 0) ++count;
    }
    return count;
  }

  Cluster cluster_;
  std::string url_;
};

TEST_F(InferenceTest, AppliedWorkspaceAnswersAtChatAndTheOpenAiRoutes) {
  ASSERT_NO_FATAL_FAILURE(Serve());

  const auto chat = cluster_.Http(url_, "POST", "/chat",
                                  R"({"prompt":"The capital of France is","return_full_text":false,
          "generate_kwargs":{"do_sample":false,"max_new_tokens":4}})");
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(chat->status, 200) << chat->body;
  EXPECT_THAT(chat->body, HasSubstr("Paris"));

  const auto completion =
      cluster_.Http(url_, "POST", "/v1/chat/completions",
                    R"({"model":"smollm2-135m-instruct","max_tokens":8,"temperature":0,
          "messages":[{"role":"user","content":"What is the capital of France?"}]})");
  ASSERT_TRUE(completion.ok()) << completion.status();
  EXPECT_EQ(completion->status, 200) << completion->body;
  EXPECT_THAT(completion->body, HasSubstr("Paris"));
  EXPECT_THAT(completion->body, HasSubstr("\"usage\""));

  const auto stream = cluster_.Http(url_, "POST", "/v1/chat/completions",
                                    R"({"max_tokens":4,"temperature":0,"stream":true,
          "messages":[{"role":"user","content":"Hello"}]})");
  ASSERT_TRUE(stream.ok()) << stream.status();
  EXPECT_THAT(stream->body, HasSubstr("chat.completion.chunk"));
  EXPECT_THAT(stream->body, HasSubstr("data: [DONE]\n\n"));

  const auto models = cluster_.Http(url_, "GET", "/v1/models");
  ASSERT_TRUE(models.ok());
  EXPECT_THAT(models->body, HasSubstr("smollm2-135m-instruct"));
  const auto metrics = cluster_.Http(url_, "GET", "/metrics");
  ASSERT_TRUE(metrics.ok());
  EXPECT_THAT(metrics->body, HasSubstr("vllm:num_requests_running"));
  EXPECT_THAT(metrics->body, HasSubstr("gateway_http_requests_total"));
}

TEST_F(InferenceTest, DeletedWorkspaceLeavesNothingBehind) {
  ASSERT_NO_FATAL_FAILURE(Serve());
  ASSERT_NE(cluster_.Pid("gateway"), 0);
  ASSERT_THAT(cluster_.List(kube::resources::kNodeClaims), SizeIs(1));

  ASSERT_TRUE(cluster_.client()
                  .Delete(kube::resources::kWorkspaces, {"default", std::string(kWorkspace)})
                  .ok());
  EXPECT_TRUE(Await(
      [&] {
        return cluster_.List(kube::resources::kWorkspaces).empty() &&
               cluster_.List(kube::resources::kNodeClaims).empty() && BoughtNodes() == 0 &&
               cluster_.List(kube::resources::kStatefulSets).empty() &&
               cluster_.List(kube::resources::kPods).empty() && cluster_.Pid("gateway") == 0;
      },
      absl::Seconds(30)));
  EXPECT_THAT(cluster_.List(kube::resources::kNodeClaims), IsEmpty());
  EXPECT_EQ(BoughtNodes(), 0);
  EXPECT_THAT(cluster_.List(kube::resources::kPods), IsEmpty());
  EXPECT_THAT(ProcessesWith(cluster_.state_dir() + "/pods"), IsEmpty());
  const auto pools = cluster_.Http(cluster_.ArmUrl(), "GET", "/_emulator/pools");
  ASSERT_TRUE(pools.ok()) << pools.status();
  const boost::json::value history = boost::json::parse(pools->body);
  ASSERT_TRUE(history.is_array()) << pools->body;
  for (const boost::json::value& pool : history.get_array()) {
    EXPECT_TRUE(kube::FindPath(pool, {"until"}) != nullptr ||
                kube::StringAt(pool, {"name"}) == "nodepool1")
        << pools->body;
  }
}

TEST_F(InferenceTest, ColumnsAndConditionsAreThoseOfTheOriginal) {
  ASSERT_NO_FATAL_FAILURE(Serve());
  const auto workspace =
      cluster_.Get(kube::resources::kWorkspaces, {"default", std::string(kWorkspace)});
  ASSERT_TRUE(workspace.has_value());
  EXPECT_EQ(workspace->StringAt({"status", "state"}), "Ready");
  EXPECT_EQ(workspace->IntAt({"status", "targetNodeCount"}), 1);
  for (const std::string_view type :
       {"NodeClaimReady", "NodesReady", "ResourceReady", "InferenceReady", "WorkspaceSucceeded",
        "WorkspaceReady", "Ready"}) {
    EXPECT_THAT(cluster_.ConditionText(kWorkspace, type), testing::StartsWith("True ")) << type;
  }
}

}  // namespace
}  // namespace integration
