#include "gpu-provisioner/arm/agent_pool.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/base/files.h"

namespace gpu_provisioner {
namespace {

TEST(AgentPoolTest, ARecordedListIsRead) {
  const auto text = base::ReadFile(std::string(KAITO_TEST_DATA) + "/recorded-list.json");
  const auto page = ParseAgentPoolPage(*text);
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_EQ(page->pools.size(), 1U);
  const AgentPool& pool = page->pools[0];
  EXPECT_EQ(pool.name, "np1");
  EXPECT_EQ(pool.vm_size, "standard_nc6s_v3");
  EXPECT_EQ(pool.priority, "Regular") << "absent means Regular";
  EXPECT_TRUE(pool.succeeded());
  EXPECT_EQ(pool.claim_uid(), "");
  EXPECT_THAT(page->next_link, testing::HasSubstr("skipToken=3138411"));
}

TEST(AgentPoolTest, TheFailureKeptOnAPoolIsRead) {
  const auto pool = ParseAgentPool(R"({"name":"ws1","properties":{"provisioningState":"Failed",
    "status":{"provisioningError":{"code":"ReconcileVMSSAgentPoolFailed","message":"m",
    "details":[{"code":"AllocationFailed","message":"no room"}]}}}})");
  ASSERT_TRUE(pool.ok());
  const auto errors = ExpandError(*pool->provisioning_error);
  EXPECT_EQ(Classify(0, errors).error_class, ErrorClass::kAllocation);
}

TEST(AgentPoolTest, WhatIsNoPoolIsRefused) {
  EXPECT_FALSE(ParseAgentPool("<html>").ok());
  EXPECT_FALSE(ParseAgentPool("{}").ok());
  EXPECT_FALSE(ParseAgentPoolPage(R"({"value":[{"name":"x"}]})").ok());
  EXPECT_FALSE(ParseAgentPoolPage("[]").ok());
}

TEST(AgentPoolTest, ASpotBodyHasDecimalPriceAndEvictionPolicy) {
  AgentPoolSpec spec{.vm_size = "Standard_NC24ads_A100_v4", .os_disk_gib = 64, .spot = true};
  spec.zones = {"2"};
  const auto body = boost::json::parse(AgentPoolBody(spec));
  const auto& properties = body.at("properties").as_object();
  EXPECT_EQ(properties.at("spotMaxPrice").as_double(), -1.0);
  EXPECT_EQ(properties.at("scaleSetEvictionPolicy").as_string(), "Delete");
  EXPECT_EQ(properties.at("availabilityZones").as_array().at(0).as_string(), "2");
  EXPECT_FALSE(properties.contains("gpuProfile"));
  EXPECT_FALSE(properties.contains("osDiskType"));
}

TEST(AgentPoolTest, ThePoolStandsInTheProviderId) {
  EXPECT_EQ(PoolOfProviderId("azure:///subscriptions/s/resourceGroups/mc/providers/"
                             "Microsoft.Compute/virtualMachineScaleSets/aks-WS1-12345678-vmss/"
                             "virtualMachines/0"),
            "ws1");
  EXPECT_EQ(PoolOfProviderId("kind://docker/x"), "");
  EXPECT_EQ(PoolOfProviderId("azure:///x/virtualMachineScaleSets/aks-"), "");
}

}  // namespace
}  // namespace gpu_provisioner
