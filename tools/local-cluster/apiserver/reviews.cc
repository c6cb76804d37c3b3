#include "local-cluster/apiserver/reviews.h"

#include <string>
#include <utility>

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "local-cluster/apiserver/negotiation.h"

namespace local_cluster {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

object UserJson(const User& user) {
  object json{{"username", user.name}};
  if (!user.uid.empty()) json["uid"] = user.uid;
  array groups;
  for (const std::string& group : user.groups) groups.emplace_back(group);
  json["groups"] = std::move(groups);
  return json;
}

object RulesJson() {
  const array all{"*"};
  return {{"resourceRules", array{object{{"verbs", all}, {"apiGroups", all}, {"resources", all}}}},
          {"nonResourceRules", array{object{{"verbs", all}, {"nonResourceURLs", all}}}},
          {"incomplete", false}};
}

}  // namespace

absl::StatusOr<net::Response> AnswerReview(const ResourceRequest& request, value body,
                                           const Authenticator& authenticator) {
  if (!body.is_object()) return BadRequestError("the body must be an object");
  object& review = body.get_object();
  review["kind"] = request.kind->kind;
  review["apiVersion"] = request.api_version();
  if (!review.contains("metadata")) review["metadata"] = object();
  const std::string& kind = request.kind->kind;
  if (kind == "SelfSubjectReview") {
    review["status"] = object{{"userInfo", UserJson(request.user)}};
  } else if (kind == "TokenReview") {
    const auto user = authenticator.Verify(kube::StringAt(body, {"spec", "token"}));
    review["status"] = object{{"authenticated", user.has_value()}};
    if (user) review["status"].as_object()["user"] = UserJson(*user);
  } else if (kind == "SelfSubjectRulesReview") {
    review["status"] = RulesJson();
  } else {
    review["status"] = object{{"allowed", true}};
  }
  return JsonResponse(201, boost::json::serialize(body) + "\n");
}

}  // namespace local_cluster
