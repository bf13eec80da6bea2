// Runs the Pulumi program with Pulumi's own mocks in place of an engine and an account, and prints
// the task definitions it makes, as RegisterTaskDefinition would be sent them.
const shape = process.argv[2];
process.env.PULUMI_CONFIG = JSON.stringify({
    "xray-daemon:shape": shape,
    "xray-daemon:appImage": "example-app:latest",
    "xray-daemon:cluster": "cluster",
    "xray-daemon:vpcId": "vpc-1",
    "xray-daemon:subnetIds": '["subnet-1"]',
    "xray-daemon:instanceSecurityGroupId": "sg-1",
    "xray-daemon:awsvpcAppSecurityGroupId": "sg-2",
});
const pulumi = require("@pulumi/pulumi");

const definitions = [];
pulumi.runtime.setMocks({
    newResource({ type, name, inputs }) {
        if (type === "aws:ecs/taskDefinition:TaskDefinition") {
            const { containerDefinitions, ...rest } = inputs;
            definitions.push({ ...rest, containerDefinitions: JSON.parse(containerDefinitions) });
        }
        return { id: name, state: { ...inputs, name, arn: `arn:aws:iam::123456789012:role/${name}` } };
    },
    call: () => ({ json: "{}", partition: "aws", accountId: "123456789012", region: "eu-west-1" }),
}, "xray-daemon");

(async () => {
    require("./out/index.js");
    await pulumi.runtime.disconnect();
    process.stdout.write(JSON.stringify(definitions));
})();
