"""What can be said of a Terraform module without Terraform: its syntax, the names and nesting of every
resource's arguments, and the JSON that its task definitions become."""

import json
import re
import subprocess

import hcl2
import pygohcl

# Terraform's own, not the provider's.
META_ARGUMENTS = {"for_each", "count", "depends_on", "lifecycle", "provider"}
CALL_ARGUMENTS = META_ARGUMENTS | {"source", "version", "providers"}


class Module:
    """The module whose main.tf `path` is; `given` are the arguments of whoever calls it."""

    def __init__(self, path, given=None):
        self.path = path
        self.given = given or {}
        self.text = path.read_text()
        self.body = plain(hcl2.loads(self.text))
        self.resources = [
            (kind, label, arguments)
            for block in self.body.get("resource", [])
            for kind, labelled in block.items()
            for label, arguments in labelled.items()
        ]

    def syntax_problems(self):
        try:
            pygohcl.loads(self.text)
        except pygohcl.HCLParseError as error:
            return str(error)
        return ""

    def schema_problems(self, project):
        """Compiles each resource as a literal of the provider's declared type: an unknown argument, one
        that is missing, or one in the wrong block does not compile."""
        lines = []
        for number, (kind, label, arguments) in enumerate(self.resources):
            words = kind.removeprefix("aws_").split("_")
            config = "".join(word.capitalize() for word in words) + "Config"
            lines.append(f'import {{ {config} as T{number} }} from "@cdktf/provider-aws/lib/{"-".join(words)}/index";')
            lines.append(f"export const r{number}: T{number} = {literal(arguments, top=True)}; // {kind}.{label}")
        if not lines:
            return ""
        source = project / f"{self.path.parent.name}.ts"
        source.write_text("\n".join(lines) + "\n")
        done = subprocess.run(
            [project / "node_modules/.bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--target", "es2020",
             "--module", "commonjs", "--moduleResolution", "node", source],
            cwd=project, capture_output=True, text=True,
        )
        return done.stdout + done.stderr if done.returncode else ""

    def variables(self):
        return {name: arguments for block in self.body.get("variable", []) for name, arguments in block.items()}

    def calls(self):
        """(label, main.tf of the module, arguments) of every module that is called."""
        for block in self.body.get("module", []):
            for label, arguments in block.items():
                main = (self.path.parent / arguments["source"] / "main.tf").resolve()
                yield label, main, {key: value for key, value in arguments.items() if key not in CALL_ARGUMENTS}

    def call_problems(self):
        """Arguments that a called module has no variable for, and variables that are given no value."""
        problems = []
        for label, main, arguments in self.calls():
            if not main.exists():
                problems.append(f"module.{label}: there is no {main}")
                continue
            variables = Module(main).variables()
            needed = {name for name, variable in variables.items() if "default" not in variable}
            problems += [f"module.{label} has no variable {name}" for name in arguments.keys() - variables.keys()]
            problems += [f"module.{label} needs {name}" for name in needed - arguments.keys()]
        return "\n".join(problems)

    def values(self):
        """{"var": ..., "local": ..., "module": ...}: what references lead to, variables at their defaults."""
        values = {"local": {}, "var": {}, "module": {}}
        for variable, arguments in self.variables().items():
            values["var"][variable] = self.given.get(variable, arguments.get("default", "a-value"))
        for block in self.body.get("locals", []):
            values["local"].update(block)
        for label, main, arguments in self.calls():
            values["module"][label] = Module(main, resolved(arguments, values)).outputs()
        return values

    def outputs(self):
        values = self.values()
        return {
            label: resolved(arguments["value"], values)
            for block in self.body.get("output", [])
            for label, arguments in block.items()
        }

    def task_definitions(self):
        """(label, what RegisterTaskDefinition would be sent)."""
        values = self.values()
        for kind, label, arguments in self.resources:
            if kind == "aws_ecs_task_definition":
                definition = {camel(key): value for key, value in arguments.items()}
                listed = re.fullmatch(r"\$\{jsonencode\((.*)\)\}", definition["containerDefinitions"], re.S)
                definition["containerDefinitions"] = plain(hcl2.loads(f"value = {listed[1]}\n"))["value"]
                if "runtimePlatform" in definition:
                    [platform] = definition["runtimePlatform"]
                    definition["runtimePlatform"] = {camel(key): value for key, value in platform.items()}
                yield label, resolved(definition, values)


def plain(value):
    """hcl2's tree without its quotes and its notes on blocks and comments."""
    if isinstance(value, dict):
        return {
            key.strip('"'): plain(item) for key, item in value.items() if not key.startswith("__")
        }
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1]
    return value


def resolved(value, values):
    """References to variables and locals replaced; what only AWS can answer becomes some text."""
    if isinstance(value, dict):
        return {key: resolved(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [resolved(item, values) for item in value]
    if isinstance(value, str):
        reference = re.fullmatch(r"\$\{(var|local)\.(\w+)\}", value)
        if reference:
            return resolved(values[reference[1]][reference[2]], values)
        reference = re.fullmatch(r"\$\{module\.(\w+)\.(\w+)\}", value)
        if reference:
            return values["module"][reference[1]][reference[2]]
        if value.startswith("${"):
            return "arn:aws:iam::123456789012:role/a-role" if value.endswith(".arn}") else "known-after-apply"
    return value


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def literal(value, top=False):
    """A TypeScript literal with the same keys. Leaves are `any`: an expression has no type to check here."""
    if isinstance(value, dict):
        pairs = [
            f"{camel(key)}: {literal(item)}" for key, item in value.items() if not (top and key in META_ARGUMENTS)
        ]
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        # A block given once is an object in the declarations.
        return literal(value[0]) if len(value) == 1 else "[" + ", ".join(literal(item) for item in value) + "]"
    return f"{json.dumps(value)} as any"
