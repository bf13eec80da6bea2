// An example: an application on an ECS cluster with EC2 instances, and one daemon on each of them.
import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";

import { executionRole, logsTo } from "./container";
import { XRayEcsDaemon } from "./ecsDaemon";

export function ec2Daemon(): pulumi.Output<string> {
    const config = new pulumi.Config();
    const cluster = config.require("cluster");

    const xray = new XRayEcsDaemon("xray-daemon", {
        cluster,
        instanceSecurityGroupId: config.require("instanceSecurityGroupId"),
        awsvpcAppSecurityGroupId: config.get("awsvpcAppSecurityGroupId"),
    });

    const logs = new aws.cloudwatch.LogGroup("example-app", { retentionInDays: 14 });
    const definition = new aws.ecs.TaskDefinition("example-app", {
        family: "example-app",
        requiresCompatibilities: ["EC2"],
        networkMode: "bridge",
        executionRoleArn: executionRole("example-app-execution", {}).arn,
        containerDefinitions: pulumi.jsonStringify([{
            name: "app",
            image: config.require("appImage"),
            essential: true,
            cpu: 256,
            memory: 512,
            portMappings: [{ containerPort: config.getNumber("appPort") ?? 8080, protocol: "tcp" }],
            // The instance itself, as a container on Docker's default bridge sees it.
            environment: [{ name: "AWS_XRAY_DAEMON_ADDRESS", value: "172.17.0.1:2000" }],
            logConfiguration: logsTo(logs),
        }]),
    });

    new aws.ecs.Service("example-app", {
        cluster,
        taskDefinition: definition.arn,
        launchType: "EC2",
        desiredCount: 1,
    }, { dependsOn: [xray.service] });

    return xray.taskRole.arn;
}
