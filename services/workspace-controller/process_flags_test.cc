#include "workspace-controller/process_flags.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace workspace_controller {
namespace {

using ::testing::HasSubstr;

TEST(ProcessFlagsTest, LocalModeBindsToPodsAndProbesEverySecond) {
  const auto options = OptionsFrom({.pod_bind = "pod-ip"});
  ASSERT_TRUE(options.ok());
  EXPECT_TRUE(options->objects.bind_pod_ip);
  EXPECT_EQ(options->objects.probe_period, absl::Seconds(1));
  EXPECT_EQ(OptionsFrom({})->objects.probe_period, absl::ZeroDuration());
}

TEST(ProcessFlagsTest, ImagesComeFromTheRegistryUnlessNamed) {
  const auto options = OptionsFrom({.preset_registry = "reg/kaito", .gateway_image = "mine:1"});
  EXPECT_EQ(options->objects.model_server_image, "reg/kaito/model-server");
  EXPECT_EQ(options->objects.gateway_image, "mine:1");
}

TEST(ProcessFlagsTest, EitherWayOfSayingSoMeansNodesOfTheUser) {
  EXPECT_FALSE(OptionsFrom({.node_provisioner = "byo"})->status.nodes_are_provisioned);
  EXPECT_FALSE(OptionsFrom({.feature_gates = {"disableNodeAutoProvisioning=true"}})
                   ->status.nodes_are_provisioned);
  EXPECT_TRUE(OptionsFrom({.feature_gates = {"vLLM=true"}})->status.nodes_are_provisioned);
}

TEST(ProcessFlagsTest, WrongValuesNameTheFlagAndWhatItMayBe) {
  EXPECT_THAT(OptionsFrom({.cloud_provider = "gcp"}).status().message(),
              HasSubstr("azure, aws, arc, local"));
  EXPECT_THAT(OptionsFrom({.feature_gates = {"enableMig=true"}}).status().message(),
              HasSubstr("nearest known: enableMIG"));
  EXPECT_THAT(OptionsFrom({.feature_gates = {"vLLM=yes"}}).status().message(), HasSubstr("vLLM"));
  EXPECT_FALSE(OptionsFrom({.workers = 0}).ok());
}

TEST(ProcessFlagsTest, AddressesAreReadAsOtherControllersWriteThem) {
  EXPECT_EQ(ParseBindAddress(":8080")->host, "0.0.0.0");
  EXPECT_EQ(ParseBindAddress(":8080")->port, 8080);
  EXPECT_EQ(ParseBindAddress("127.0.0.1:1")->host, "127.0.0.1");
  EXPECT_EQ(ParseBindAddress("[::1]:80")->host, "::1");
  EXPECT_EQ(ParseBindAddress("0")->port, -1);
  EXPECT_FALSE(ParseBindAddress("8080").ok());
  EXPECT_FALSE(ParseBindAddress("a:70000").ok());
}

}  // namespace
}  // namespace workspace_controller
