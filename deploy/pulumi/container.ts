// What both ways to run the daemon share: the image, the two roles, the container.
import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";

/** The daemon's image, where a component is given no other. */
export const defaultImage = "ghcr.io/xray-daemon/xray:0.1.0";

const ecsTrust = aws.iam.getPolicyDocumentOutput({
    statements: [{
        actions: ["sts:AssumeRole"],
        principals: [{ type: "Service", identifiers: ["ecs-tasks.amazonaws.com"] }],
        conditions: [{
            test: "StringEquals",
            variable: "aws:SourceAccount",
            values: [aws.getCallerIdentityOutput().accountId],
        }],
    }],
}).json;

/** What the containers themselves may do: this is the role the daemon signs with. */
export function taskRole(name: string, options: pulumi.ComponentResourceOptions): aws.iam.Role {
    const role = new aws.iam.Role(name, { assumeRolePolicy: ecsTrust }, options);
    new aws.iam.RolePolicy(name, {
        role: role.id,
        policy: aws.iam.getPolicyDocumentOutput({
            statements: [{
                actions: [
                    "xray:PutTraceSegments",
                    "xray:PutTelemetryRecords",
                    "xray:GetSamplingRules",
                    "xray:GetSamplingTargets",
                    "xray:GetSamplingStatisticSummaries",
                ],
                resources: ["*"],
            }],
        }).json,
    }, options);
    return role;
}

/** What ECS does before and around the containers: pull images, write their logs. Nothing of X-Ray. */
export function executionRole(name: string, options: pulumi.ComponentResourceOptions): aws.iam.Role {
    const role = new aws.iam.Role(name, { assumeRolePolicy: ecsTrust }, options);
    new aws.iam.RolePolicyAttachment(name, {
        role: role.name,
        policyArn: pulumi.interpolate`arn:${
            aws.getPartitionOutput().partition
        }:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy`,
    }, options);
    return role;
}

/** The awslogs configuration of a container that writes to `group`. */
export function logsTo(group: aws.cloudwatch.LogGroup) {
    return {
        logDriver: "awslogs",
        options: {
            "awslogs-group": group.name,
            "awslogs-region": aws.getRegionOutput().region,
            "awslogs-stream-prefix": "ecs",
        },
    };
}

/** The daemon's container; `extra` is what the place it runs in asks for. */
export function daemonContainer(image: pulumi.Input<string>, group: aws.cloudwatch.LogGroup, extra: object) {
    return {
        name: "xray-daemon",
        image,
        user: "10001",
        readonlyRootFilesystem: true,
        linuxParameters: { capabilities: { drop: ["ALL"] } },
        healthCheck: { command: ["CMD", "/xray", "healthcheck"], interval: 10, timeout: 2, retries: 3, startPeriod: 5 },
        logConfiguration: logsTo(group),
        ...extra,
    };
}
