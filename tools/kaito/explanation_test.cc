#include "kaito/explanation.h"

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kaito {
namespace {

using ::testing::HasSubstr;

kube::Object Parsed(const std::string& text) {
  absl::StatusOr<kube::Object> object = kube::Object::Parse(text);
  EXPECT_TRUE(object.ok()) << object.status() << text;
  return *std::move(object);
}

std::string Condition(std::string_view type, std::string_view status, std::string_view reason,
                      std::string_view message = "") {
  return absl::StrFormat(R"({"type":"%s","status":"%s","reason":"%s","message":"%s"})", type,
                         status, reason, message);
}

kube::Object With(std::string_view name, const std::string& conditions,
                  std::string_view metadata = "") {
  return Parsed(absl::StrFormat(
      R"({"metadata":{"namespace":"default","name":"%s"%s},"status":{"conditions":[%s]}})", name,
      metadata, conditions));
}

std::string Text(const Explanation& explanation) {
  std::string text = explanation.headline + "\n";
  for (const Cause& cause : explanation.causes) text += cause.where + ": " + cause.text + "\n";
  return text + "next: " + explanation.next_step + "\n";
}

TEST(ExplanationTest, AReadyWorkspaceNeedsNoCause) {
  const Explanation explanation = Explain(
      {.workspace = With("w", Condition("WorkspaceSucceeded", "True", "workspaceSucceeded"))});
  EXPECT_TRUE(explanation.ready);
  EXPECT_EQ(Text(explanation), "workspace default/w is ready\nnext: `kaito chat w`\n");
}

TEST(ExplanationTest, AQuotaErrorIsFollowedFromConditionToClaimToAdvice) {
  const Explanation explanation = Explain(
      {.workspace = With("w", Condition("ResourceReady", "False", "QuotaExceeded", "no cores") +
                                  "," + Condition("NodeClaimReady", "False", "NodeClaimNotReady") +
                                  "," + Condition("InferenceReady", "Unknown", "Pending")),
       .node_claims = {With("claim", Condition("Launched", "False", "LaunchFailed",
                                               "0 of 24 cores left in eastus"))}});
  EXPECT_FALSE(explanation.ready);
  EXPECT_EQ(Text(explanation),
            "workspace default/w is not ready\n"
            "condition ResourceReady is False: QuotaExceeded: no cores\n"
            "condition NodeClaimReady is False: NodeClaimNotReady\n"
            "node claim claim: Launched is False: LaunchFailed: 0 of 24 cores left in eastus\n"
            "next: ask for more quota of this VM family, or choose another instanceType\n");
}

TEST(ExplanationTest, ACrashingContainerShowsItsExitCodeAndLastWords) {
  const kube::Object pod = Parsed(R"({"metadata":{"namespace":"default","name":"w-0"},"status":{
    "phase":"Running","containerStatuses":[
      {"name":"gateway","ready":true,"started":true,"state":{"running":{}}},
      {"name":"w","ready":false,"state":{"waiting":{"reason":"CrashLoopBackOff"}},
       "lastState":{"terminated":{"exitCode":1,"reason":"Error"}}}]}})");
  const Explanation explanation =
      Explain({.workspace = With("w", Condition("ResourceReady", "True", "ok") + "," +
                                          Condition("InferenceReady", "False", "Pending")),
               .pods = {pod},
               .last_log_lines = {{"w-0/w", "open /weights: no such file"}}});
  EXPECT_EQ(Text(explanation),
            "workspace default/w is not ready\n"
            "condition InferenceReady is False: Pending\n"
            "pod w-0: container w: CrashLoopBackOff (last exit code 1, Error)\n"
            "log of w-0/w: open /weights: no such file\n"
            "next: read its log: `kaito logs w`\n");
  const auto troubled = TroubledContainers({pod});
  ASSERT_EQ(troubled.size(), 1U);
  EXPECT_EQ(troubled[0].container, "w");
  EXPECT_TRUE(troubled[0].previous);
}

TEST(ExplanationTest, AContainerThatNeverRanHasNoLog) {
  EXPECT_TRUE(TroubledContainers({Parsed(R"({"metadata":{"name":"p"},"status":{"containerStatuses":[
    {"name":"w","state":{"waiting":{"reason":"ImagePullBackOff"}}}]}})")})
                  .empty());
}

TEST(ExplanationTest, AWorkspaceThatNobodyLookedAtPointsAtTheController) {
  const Explanation explanation =
      Explain({.workspace = Parsed(R"({"metadata":{"name":"w","namespace":"default"}})"),
               .dead_processes = {"workspace-controller"}});
  EXPECT_THAT(Text(explanation), HasSubstr("process workspace-controller: is not running"));
  EXPECT_THAT(Text(explanation), HasSubstr("next: see that workspace-controller runs"));
}

TEST(ExplanationTest, ADeletionNamesItsFinalizers) {
  const Explanation explanation = Explain(
      {.workspace = With("w", Condition("WorkspaceSucceeded", "True", "x"),
                         R"(,"deletionTimestamp":"2024-01-01T00:00:00Z","finalizers":["f"])")});
  EXPECT_FALSE(explanation.ready);
  EXPECT_THAT(Text(explanation), HasSubstr("waits for the finalizer f"));
}

TEST(ExplanationTest, TheNewestWarningIsShown) {
  const auto event = [](std::string_view time, std::string_view note, std::string_view type) {
    return Parsed(absl::StrFormat(R"({"type":"%s","reason":"R","note":"%s","eventTime":"%s"})",
                                  type, note, time));
  };
  const Explanation explanation =
      Explain({.workspace = With("w", Condition("ResourceReady", "False", "Pending")),
               .events = {event("2024-01-02T00:00:00Z", "newer", "Warning"),
                          event("2024-01-01T00:00:00Z", "older", "Warning"),
                          event("2024-01-03T00:00:00Z", "normal", "Normal")}});
  EXPECT_THAT(Text(explanation), HasSubstr("last warning: R: newer\n"));
}

}  // namespace
}  // namespace kaito
