#include "local-cluster/runner/rewrite.h"

#include "gtest/gtest.h"

namespace local_cluster {
namespace {

TEST(RewriteTest, VariablesExpandAsInKubernetes) {
  const std::map<std::string, std::string, std::less<>> variables = {{"A", "1"}, {"POD_IP", "x"}};
  EXPECT_EQ(ExpandVariables("$(POD_IP):8001", variables), "x:8001");
  EXPECT_EQ(ExpandVariables("$$(A) $(A) $(B) $A $", variables), "$(A) 1 $(B) $A $");
  EXPECT_EQ(ExpandVariables("$(A", variables), "$(A");
}

TEST(RewriteTest, PathsAreReplacedWhereTheyBeginAWordAndEndAComponent) {
  const std::vector<PathMapping> mappings = {{"/workspace", "/pods/w"},
                                             {"/workspace/weights", "/models/m"}};
  EXPECT_EQ(RewritePaths("--model=/workspace/weights", mappings), "--model=/models/m");
  EXPECT_EQ(RewritePaths("/workspace/weights/a.gguf", mappings), "/models/m/a.gguf");
  EXPECT_EQ(RewritePaths("/workspace/weights2", mappings), "/pods/w/weights2");
  EXPECT_EQ(RewritePaths("/workspaces /x/workspace", mappings), "/workspaces /x/workspace");
  EXPECT_EQ(RewritePaths("cat '/workspace/a';ls /workspace", mappings),
            "cat '/pods/w/a';ls /pods/w");
  EXPECT_EQ(RewritePaths("http://host/workspace", mappings), "http://host/workspace");
}

TEST(RewriteTest, ClusterNamesBecomeAddresses) {
  const auto resolve = [](std::string_view name) -> std::optional<std::string> {
    if (name == "llm-0.llm-headless.default") return "127.32.0.5";
    if (name == "llm.default") return "127.96.0.9";
    return std::nullopt;
  };
  EXPECT_EQ(RewriteClusterNames("llm-0.llm-headless.default.svc.cluster.local:8003", resolve),
            "127.32.0.5:8003");
  EXPECT_EQ(RewriteClusterNames("http://llm.default.svc/chat and other.default.svc", resolve),
            "http://127.96.0.9/chat and other.default.svc");
  EXPECT_EQ(RewriteClusterNames("llm.default.svca llm.default.svc.example.com", resolve),
            "llm.default.svca llm.default.svc.example.com");
}

}  // namespace
}  // namespace local_cluster
